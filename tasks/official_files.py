"""The files that each data set is published as: plain data.

The names are those inside the archives that the tfds builders download.
"""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class OfficialFiles:
    """Where a tfds builder looks for its data.

    Attributes:
        splits: the file that each split is made of.
        folder: the files' folder in their distribution.
        is_archive: whether the builder finds `folder` inside a .zip file, or
            downloads the files one by one.
        shared: files that are read for every split.
        others: other names of the same file, `{other name: official name}`.
    """

    splits: Mapping[str, str]
    folder: str
    is_archive: bool = True
    shared: tuple[str, ...] = ()
    others: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def needed(self) -> list[str]:
        """All files, each once."""
        return list(dict.fromkeys([*self.splits.values(), *self.shared]))


_JSONL = {
    "train": "train.jsonl",
    "validation": "val.jsonl",
    "test": "test.jsonl",
}
_TSV = {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}

# By the name of the task.
OFFICIAL_FILES = {
    "super_glue/boolq": OfficialFiles(_JSONL, "BoolQ"),
    "super_glue/cb": OfficialFiles(_JSONL, "CB"),
    "super_glue/copa": OfficialFiles(_JSONL, "COPA"),
    "super_glue/multirc": OfficialFiles(_JSONL, "MultiRC"),
    "super_glue/record": OfficialFiles(_JSONL, "ReCoRD"),
    "super_glue/rte": OfficialFiles(_JSONL, "RTE"),
    "super_glue/wic": OfficialFiles(_JSONL, "WiC"),
    "super_glue/wsc": OfficialFiles(_JSONL, "WSC"),
    "super_glue/axb": OfficialFiles({"test": "AX-b.jsonl"}, "AX-b"),
    "super_glue/axg": OfficialFiles({"test": "AX-g.jsonl"}, "AX-g"),
    # MRPC's dev set is the pairs of the training file that dev_ids names.
    "glue/mrpc": OfficialFiles(
        {
            "train": "msr_paraphrase_train.txt",
            "validation": "msr_paraphrase_train.txt",
            "test": "msr_paraphrase_test.txt",
        },
        folder="MRPC",
        is_archive=False,
        shared=("mrpc_dev_ids.tsv",),
        others={"dev_ids.tsv": "mrpc_dev_ids.tsv"},
    ),
    "glue/qqp": OfficialFiles(_TSV, "QQP"),
    "glue/sst2": OfficialFiles(_TSV, "SST-2"),
    "squad": OfficialFiles(
        {"train": "train-v1.1.json", "validation": "dev-v1.1.json"},
        folder="squad",
        is_archive=False,
        others={
            "squad-train-v1.1.json": "train-v1.1.json",
            "squad-dev-v1.1.json": "dev-v1.1.json",
        },
    ),
}
