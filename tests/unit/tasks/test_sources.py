"""Rows from memory and from files, and what is refused at that boundary."""

import enum

import numpy as np
import pytest

from keras_prompt.tasks.sources import FileSource, RowsSource


def _rows(source, split="train"):
    return [
        {key: value.decode() if isinstance(value, bytes) else value.tolist()
         for key, value in row.items()}
        for row in source.dataset(split).as_numpy_iterator()
    ]  # fmt: skip


def _file(tmp_path, name, text, **arguments):
    path = tmp_path / name
    path.write_bytes(text.encode())
    return FileSource({"train": path}, **arguments)


_EXPECTED = [
    {"text": "a dog", "label": "yes"},
    {"text": 'a "cat"', "label": "no"},
]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("d.csv", 'text,label\na dog,yes\n"a ""cat""",no\n'),
        ("d.tsv", 'text\tlabel\na dog\tyes\na "cat"\tno\n'),
        ("d.tsv", '\ufefftext\tlabel\r\na dog\tyes\r\na "cat"\tno'),
        (
            "d.jsonl",
            '{"text": "a dog", "label": "yes"}\n\n'
            '{"label": "no", "text": "a \\"cat\\""}',
        ),
    ],
    ids=["csv", "tsv", "tsv with BOM", "jsonl"],
)
def test_a_file_gives_its_rows(tmp_path, name, text):
    assert _rows(_file(tmp_path, name, text)) == _EXPECTED


def test_columns_are_chosen_and_renamed(tmp_path):
    columns = {"inputs": "text", "targets": "label"}
    source = _file(
        tmp_path, "d.csv", "id,text,label\n1,a dog,yes\n", columns=columns
    )
    assert _rows(source) == [{"inputs": "a dog", "targets": "yes"}]


def test_numbers_of_jsonl_stay_numbers(tmp_path):
    source = _file(tmp_path, "d.jsonl", '{"n": 3, "x": 0.5, "ok": true}')
    assert _rows(source) == [{"n": 3, "x": 0.5, "ok": True}]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("d.jsonl", '{"a": 1}\n{"a": ', "line 2, is no JSON"),
        (
            "d.jsonl",
            '{"a": 1}\n{"a": ' + "9" * 5000 + "}",
            r"d\.jsonl, line 2, cannot be read: Exceeds the limit .* digits",
        ),
        (
            "d.jsonl",
            '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}",
            r"d\.jsonl, line 1, is nested too deeply\. A value must be text",
        ),
        (
            "d.jsonl",
            '{"a": 1}\n{"a": 1, "b": 2, "a": 3}',
            r"d\.jsonl, line 2, cannot be read: it must have each key once, "
            r"and has 'a' twice",
        ),
        ("d.jsonl", "[1, 2]", "line 1, must be a JSON object"),
        ("d.jsonl", "", "no rows in .*d.jsonl"),
        ("d.csv", "a,b\n", "no rows in .*d.csv"),
        ("d.csv", "", "no rows in .*d.csv"),
        ("d.tsv", "a\tb\n1\n", "line 2, has 1 values for the 2 columns a, b"),
        ("d.tsv", "a\tb\ta\n1\t2\t3\n", r"d\.tsv must name each .*: 'a'\."),
        ("d.csv", "a,b,b,a\n", r"d\.csv must name each .*: 'a', 'b'\. Rename"),
        ("d.jsonl", '{"a": 1}\n{"b": 1}', "row 0 has a; row 1 has b"),
        ("d.jsonl", '{"a": 1}\n{"a": "x"}', "Row 0 has 1; row 1 has 'x'"),
        ("d.jsonl", '{"a": 1}\n{"a": [1]}', r"Row 0 has 1; row 1 has \[1\]"),
        ("d.jsonl", '{"a": null}', "must hold Unicode text"),
        ("d.jsonl", '{"a": {"b": 1}}', "must hold Unicode text"),
        ("d.jsonl", '{"a": "hi \\ud83d"}', r"Row 0 has 'hi .*ud83d'"),
        ("d.jsonl", '{"a": 9223372036854775808}', "of at most 64 bits"),
        ("d.csv", 'a,b\n1,"x\n2,y\n', "unexpected end .* ends at line 3"),
        ("d.csv", 'a,b\n1,"x, y\n2,"z" w\n', "expected after .* at line 3"),
        ("d.csv", "a\n" + "x" * 131_073, r"field .*limit.*into a \.jsonl file"),
        ("d.txt", "a", "must end in .jsonl, .csv or .tsv"),
    ],
)
def test_a_broken_file_is_refused(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        _file(tmp_path, name, text).dataset("train")


def test_quotes_within_a_value_of_a_csv_are_kept(tmp_path):
    source = _file(tmp_path, "d.csv", 'a,b\nsay "hi",1\n"""x"", y",2\n')
    assert [row["a"] for row in _rows(source)] == ['say "hi"', '"x", y']


class _Verdict(enum.StrEnum):
    GOOD = "good"


class _Stars(enum.IntEnum):
    FIVE = 5


def test_values_of_numpy_and_of_enumerations_are_pythons():
    rows = [
        {"a": np.str_("x y"), "n": np.int64(3), "w": np.float32(0.5),
         "ok": np.bool_(True), "l": np.array([1, 2])},
        {"a": _Verdict.GOOD, "n": _Stars.FIVE, "w": 2.0,
         "ok": False, "l": [3]},
    ]  # fmt: skip
    assert _rows(RowsSource({"train": rows})) == [
        {"a": "x y", "n": 3, "w": 0.5, "ok": True, "l": [1, 2]},
        {"a": "good", "n": 5, "w": 2.0, "ok": False, "l": [3]},
    ]


def test_a_missing_column_is_refused(tmp_path):
    source = _file(
        tmp_path, "d.csv", "text,lable\na,b\n", columns={"targets": "label"}
    )
    with pytest.raises(ValueError, match=r"no column 'label'. Found: text, la"):
        source.dataset("train")


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "d.csv"
    path.write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(ValueError, match="is not UTF-8"):
        FileSource({"train": path}).dataset("train")


def test_an_absent_file_is_refused(tmp_path):
    source = FileSource({"train": tmp_path / "d.csv"})
    with pytest.raises(FileNotFoundError, match="No data file for 'train'"):
        source.dataset("train")


@pytest.mark.parametrize("source", [RowsSource({"train": []}), FileSource({})])
def test_an_unknown_split_is_refused(source):
    with pytest.raises(ValueError, match="Unknown split 'dev'"):
        source.dataset("dev")


def test_lists_of_unequal_length_are_rows_too():
    rows = [{"answers": ["a", "b"]}, {"answers": []}, {"answers": ["c"]}]
    dataset = RowsSource({"train": rows}).dataset("train")
    found = [row["answers"].tolist() for row in dataset.as_numpy_iterator()]
    assert found == [[b"a", b"b"], [], [b"c"]]
