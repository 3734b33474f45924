"""The files that each data set is published as: plain data.

The names are those inside the archives that the tfds builders download.
"""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class OfficialFiles:
    """Where a tfds builder looks for its data.

    Attributes:
        folder: of the archive, as the builder expects it.
        splits: the file of each split.
        shared: files that every split needs.
        others: names of other distributions, `{their name: official name}`.
    """

    folder: str
    splits: Mapping[str, str]
    shared: tuple[str, ...] = ()
    others: Mapping[str, str] = dataclasses.field(default_factory=dict)


_JSONL = {
    "train": "train.jsonl",
    "validation": "val.jsonl",
    "test": "test.jsonl",
}
_TSV = {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}

# By the name of the task.
OFFICIAL_FILES = {
    "super_glue/boolq": OfficialFiles("BoolQ", _JSONL),
    "super_glue/cb": OfficialFiles("CB", _JSONL),
    "super_glue/copa": OfficialFiles("COPA", _JSONL),
    "super_glue/multirc": OfficialFiles("MultiRC", _JSONL),
    "super_glue/record": OfficialFiles("ReCoRD", _JSONL),
    "super_glue/rte": OfficialFiles("RTE", _JSONL),
    "super_glue/wic": OfficialFiles("WiC", _JSONL),
    "super_glue/wsc": OfficialFiles("WSC", _JSONL),
    "super_glue/axb": OfficialFiles("AX-b", {"test": "AX-b.jsonl"}),
    "super_glue/axg": OfficialFiles("AX-g", {"test": "AX-g.jsonl"}),
    # MRPC's dev set is the pairs of the training file that dev_ids names.
    "glue/mrpc": OfficialFiles(
        "MRPC",
        {
            "train": "msr_paraphrase_train.txt",
            "validation": "msr_paraphrase_train.txt",
            "test": "msr_paraphrase_test.txt",
        },
        shared=("dev_ids.tsv",),
    ),
    "glue/qqp": OfficialFiles("QQP", _TSV),
    "glue/sst2": OfficialFiles("SST-2", _TSV),
    "squad": OfficialFiles(
        "squad",
        {"train": "train-v1.1.json", "validation": "dev-v1.1.json"},
        others={
            "squad-train-v1.1.json": "train-v1.1.json",
            "squad-dev-v1.1.json": "dev-v1.1.json",
        },
    ),
}
