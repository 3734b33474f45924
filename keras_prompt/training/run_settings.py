"""A run's settings as its folder keeps them, and whose folder it is."""

import dataclasses
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


# Each kind's record of its settings, and who writes it.
TUNING, PRETRAINING = "config.json", "run.json"
_WRITERS = {
    TUNING: "`keras-prompt tune`, or a model",
    PRETRAINING: "`keras-prompt pretrain` or `adapt`",
}


def refuse_other_kind(folder: Path, record: str) -> None:
    """Refuses a folder of a run of the other kind.

    Args:
        folder: of the run, if there is one.
        record: of the other kind, `TUNING` or `PRETRAINING`.

    Raises:
        ValueError: it is there.
    """
    if (folder / record).is_file():
        raise ValueError(
            f"{folder} has a {record}: it holds a run of {_WRITERS[record]}. "
            "Choose another output folder."
        )


def refuse_fewer_steps(folder: str | Path, done: int, steps: int) -> None:
    """Refuses to end a run where it has already been.

    Args:
        folder: of the run.
        done: steps that it has done.
        steps: that it should have.

    Raises:
        ValueError: it has done more.
    """
    if done > steps:
        raise ValueError(
            f"`steps` must not be less than the {done:,} that {folder} "
            f"has done. Received: steps={steps}"
        )


def as_stored(config: "DataclassInstance") -> dict[str, Any]:
    """Settings as they come back from a file.

    Tuples are lists then, and NumPy's integers Python's.
    """
    return json.loads(json.dumps(dataclasses.asdict(config), default=int))


def with_defaults(
    kind: "type[DataclassInstance]", stored: Mapping[str, Any]
) -> dict[str, Any]:
    """What an older version did not write down had today's default."""
    defaults = {
        field.name: field.default
        for field in dataclasses.fields(kind)
        if field.default is not dataclasses.MISSING
    }
    return defaults | dict(stored)


def refuse_other(
    folder: Path,
    theirs: Mapping[str, Any],
    config: "DataclassInstance",
    may_change: Collection[str],
) -> None:
    """Refuses a folder whose run has other settings.

    Args:
        folder: of the run.
        theirs: its settings.
        config: of this one.
        may_change: settings that do not make it another run.

    Raises:
        ValueError: one differs.
    """
    mine = as_stored(config)
    for field in sorted(mine.keys() - may_change):
        if theirs.get(field) != mine[field]:
            raise ValueError(
                f"{folder} holds a run with {field}={theirs.get(field)!r}; "
                f"this one has {field}={mine[field]!r}. "
                "Choose another output folder, or the same settings."
            )
