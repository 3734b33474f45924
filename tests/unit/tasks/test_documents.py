"""Documents from files, tfds and SeqIO, and what is refused at the door."""

import gzip
import lzma
import os
import shutil
import sys

import numpy as np
import pytest

from keras_prompt.tasks.documents import document_source

TEXT = "one\ntwo\n\n\n  three  \n\n"
DOCUMENTS = [["one", "two"], ["three"]]


def documents(word):
    return list(document_source(word).documents())


@pytest.mark.parametrize(
    ("name", "compress"),
    [("a.txt", bytes), ("a.txt.gz", gzip.compress), ("a.xz", lzma.compress)],
)
def test_lines_are_paragraphs_and_blank_lines_divide_documents(
    tmp_path, name, compress
):
    path = tmp_path / name
    path.write_bytes(compress(TEXT.encode()))
    assert documents(path) == DOCUMENTS


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("latin.txt", "caf\xe9".encode("latin-1")),
        ("plain.gz", b"no gzip at all"),
        ("plain.xz", b"no xz at all"),
        ("cut.gz", gzip.compress(TEXT.encode() * 99)[:-9]),
        ("cut.xz", lzma.compress(TEXT.encode() * 99)[:-9]),
        ("bad.gz", gzip.compress(TEXT.encode())[:10] + b"\xff" * 30),
    ],
)
def test_a_file_that_is_no_text_is_named(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} must hold UTF-8 text"):
        documents(path)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No text file at .*absent"):
        document_source(tmp_path / "absent").version()


def test_a_file_of_the_same_size_has_another_version_once_it_changed(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one")
    before = document_source(path).version()
    path.write_text("two")
    os.utime(path, ns=(0, 1))
    assert document_source(path).version() != before


@pytest.fixture(scope="module")
def tfds_folder(tmp_path_factory):
    """A text data set of three rows, prepared by a tfds builder."""
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("tfds")

    class TinyStories(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {"text": tfds.features.Text(), "stars": np.int64}
            return self.dataset_info_from_configs(
                features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for number, text in enumerate(["one\ntwo", " \n ", "three"]):
                yield number, {"text": text, "stars": number}

    TinyStories(data_dir=folder).download_and_prepare(
        download_config=tfds.download.DownloadConfig(try_download_gcs=False)
    )
    return folder


@pytest.fixture
def prepared(monkeypatch, tfds_folder):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_folder))


@pytest.mark.usefixtures("prepared")
def test_a_row_of_tfds_is_a_document():
    assert sorted(documents("tfds:tiny_stories/train:text")) == [
        ["one", "two"],
        ["three"],
    ]
    some = documents("tfds:tiny_stories:1.0.0/train[:1]:text")
    assert some == [["one", "two"]]
    source = document_source("tfds:tiny_stories/train:text")
    assert source.version() == "tiny_stories/1.0.0 train text 3"


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("tfds:tiny_stories", "is written tfds:NAME/SPLIT:FEATURE"),
        ("tfds:tiny_storys/train:text", "knows no 'tiny_storys'"),
        ("tfds:tiny_stories:9.9.9/train:text", "knows no 'tiny_stories:9.9.9'"),
        ("tfds:glue/sst2:9.9.9/train:sentence", r"sst2:9\.9\.9'.*only: 2\.0"),
        ("tfds:glue/sst2/2.0.0/train:sentence", r"no 'glue/sst2/2\.0\.0', and"),
        ("tfds:tiny_stories/trian:text", "Did you mean 'train'"),
        ("tfds:tiny_stories/train[x]:text", "a slice such as"),
        ("tfds:tiny_stories/train:txt", "Did you mean 'text'"),
        ("tfds:tiny_stories/train:stars", "Unknown text feature"),
        ("seqio:", "is written seqio:TASK"),
        ("seqio:c4_v220_span_corruptio", "Did you mean"),
        ("seqio:no_such_module:corpus", "no_such_module.*PYTHONPATH"),
    ],
)
def test_a_wrong_source_is_refused_before_it_is_read(word, message):
    with pytest.raises(ValueError, match=message):
        document_source(word).version()


@pytest.mark.parametrize(
    ("version", "pattern", "named"),
    [
        ("", "*.tfrecord*", "tiny_stories/1.0.0"),
        ("", "dataset_info.json", "tiny_stories"),
        (":1.0.0", "*.tfrecord*", "tiny_stories/1.0.0"),
        (":1.0.0", "dataset_info.json", "tiny_stories/1.0.0"),
        (":1.0.0", "features.json", "tiny_stories/1.0.0"),
    ],
)
def test_a_damaged_data_set_of_tfds_is_named(
    tmp_path, monkeypatch, tfds_folder, version, pattern, named
):
    whole = tfds_folder / "tiny_stories"
    copy = shutil.copytree(whole, tmp_path / "tiny_stories")
    (path,) = copy.glob(f"*/{pattern}")
    path.write_bytes(path.read_bytes()[:-7])
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(
        ValueError,
        match=rf"^{tmp_path / named} is damaged \(.*Remove it and prepare it",
    ):
        documents(f"tfds:tiny_stories{version}/train:text")


@pytest.fixture
def seqio_module(tmp_path, monkeypatch):
    """A module that registers tasks of SeqIO, as users have them."""
    import seqio

    (tmp_path / "my_corpora.py").write_text(
        "import functools, seqio\n"
        "rows = ['one\\ntwo', '', 'three']\n"
        "def dataset(split, shuffle_files=False, seed=None):\n"
        "    import tensorflow as tf\n"
        "    return tf.data.Dataset.from_tensor_slices({'text': rows})\n"
        "source = seqio.FunctionDataSource(\n"
        "    dataset, splits=['train'], num_input_examples={'train': 3})\n"
        "feature = seqio.Feature(seqio.PassThroughVocabulary(9), False)\n"
        "rekey = functools.partial(\n"
        "    seqio.preprocessors.rekey, key_map={'targets': 'text'})\n"
        "def add(name, *steps):\n"
        "    seqio.TaskRegistry.add(\n"
        "        name, source=source, preprocessors=list(steps),\n"
        "        output_features={'targets': feature}, metric_fns=[])\n"
        "add('stories', rekey, seqio.preprocessors.tokenize)\n"
        "add('numbers', lambda rows: rows.map(\n"
        "    lambda row: {'targets': [1, 2]}))\n"
        "seqio.MixtureRegistry.add('both', [('stories', 1), ('numbers', 1)])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_corpora"
    sys.modules.pop("my_corpora", None)
    for name in ("stories", "numbers"):
        seqio.TaskRegistry.remove(name)
    seqio.MixtureRegistry.remove("both")


def test_a_seqio_task_gives_its_text_before_token_ids(seqio_module):
    assert documents(f"seqio:{seqio_module}:stories") == [
        ["one", "two"],
        ["three"],
    ]


def test_seqio_without_text_and_mixtures_are_refused(seqio_module):
    with pytest.raises(ValueError, match="'numbers' has no text to read"):
        documents(f"seqio:{seqio_module}:numbers")
    mixture = document_source(f"seqio:{seqio_module}:both")
    with pytest.raises(ValueError, match="seqio:my_corpora:stories"):
        mixture.version()
