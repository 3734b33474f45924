"""Official files of a data set, from a local folder, to tfds' own records.

The tfds builder of the task itself reads the files: only its download manager
is replaced, by one that answers with the local folder. So everything after
this is identical to a data set that tfds downloaded.
"""

import contextlib
import dataclasses
import io
import os
import shutil
import sys
import tempfile
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_prompt import tasks
from keras_prompt.registry import lookup
from keras_prompt.tasks import prepared
from keras_prompt.tasks.official_files import OFFICIAL_FILES, OfficialFiles
from keras_prompt.tasks.tfds_source import TfdsSource


@dataclasses.dataclass(frozen=True)
class Preparation:
    """What `prepare` did.

    Attributes:
        task: the task's name.
        folder: where the data set lies.
        files: the file that each split was made of.
        rows: how many rows each split has.
        published: how many the published split has.
        was_prepared: it lay there already, made of the same files.
    """

    task: str
    folder: Path
    files: Mapping[str, Path]
    rows: Mapping[str, int]
    published: Mapping[str, int]
    was_prepared: bool

    def __str__(self) -> str:
        """A few lines for a terminal."""
        rows = ", ".join(f"{split} {n:,}" for split, n in self.rows.items())
        verb = "was there already" if self.was_prepared else "prepared"
        lines = [f"{self.task} {verb}: {rows} rows in {self.folder}"]
        return "\n".join([*lines, *(f"  {d}" for d in self.differences)])

    @property
    def differences(self) -> list[str]:
        """A line for each split that is absent or of another size."""
        lines = []
        for split, published in self.published.items():
            if split not in self.rows:
                lines.append(f"{split}: absent ({published:,} published)")
            elif self.rows[split] != published:
                lines.append(
                    f"{split}: {self.rows[split]:,} rows, {published:,} "
                    f"published, from {self.files[split].name}"
                )
        return lines


def prepare(
    task_name: str,
    source_directory: str | Path,
    data_dir: str | Path | None = None,
    *,
    files: Mapping[str, str] | None = None,
    allow_missing: bool = False,
) -> Preparation:
    """Makes a task's data set of local files, without a network.

    A prepare that fails or is killed leaves nothing that is taken for a data
    set. One that is there already, made of the same files, is left as it is;
    so is one that another process made in the meantime.

    Args:
        task_name: e.g. "super_glue/rte".
        source_directory: the folder of the task's files, or its parent.
        data_dir: tfds' folder, as for `keras_prompt.tasks.get`.
        files: another file for a split, e.g. `{"train": "first_1000.jsonl"}`;
            the rows are counted and told apart from the published ones.
        allow_missing: leave out the splits whose files are absent.

    Raises:
        FileNotFoundError: the folder or a file is absent.
        ValueError: an unknown task or split, two files for splits that are
            made of one, files of another data set, or a data set that is
            there already and made otherwise.
    """
    task = tasks.get(task_name, data_dir)
    official = lookup("task with official files", task_name, OFFICIAL_FILES)
    source = task.source
    assert isinstance(source, TfdsSource)
    _check_files(official, files or {})
    found = _find(Path(source_directory), official, files or {})
    by_split = {
        split: found[name]
        for split, name in official.splits.items()
        if name in found
    }
    missing = [name for name in official.needed() if name not in found]
    is_enough = (
        allow_missing and by_split and not {*official.shared} & {*missing}
    )
    if missing and not is_enough:
        raise FileNotFoundError(
            _missing(task_name, missing, Path(source_directory), official)
        )

    was_prepared = source.folder.exists() or not _build(
        source, official, found, by_split
    )
    if was_prepared:
        _check_same(source.folder, official, found, by_split)
    infos = source.builder().info.splits
    return Preparation(
        task=task_name,
        folder=source.folder,
        files=by_split,
        rows={split: infos[split].num_examples for split in infos},
        published=source.rows,
        was_prepared=was_prepared,
    )


def _check_files(official: OfficialFiles, files: Mapping[str, str]) -> None:
    """Refuses splits that are not there, and two files in place of one."""
    first: dict[str, str] = {}
    for split in files:
        name = lookup("split", split, official.splits)
        other = first.setdefault(name, split)
        if files[other] != files[split]:
            raise ValueError(
                f"`files` must give the splits '{other}' and '{split}' the "
                f"same file: both are made of {name}. Received: "
                f"{other}={files[other]}, {split}={files[split]}. Give one of "
                "them, or the same file for both."
            )


def _find(
    directory: Path, official: OfficialFiles, files: Mapping[str, str]
) -> dict[str, Path]:
    """Where each official file lies, in `directory` or the folder in it."""
    if not directory.is_dir():
        raise FileNotFoundError(f"There is no folder {directory}.")
    names = {name: [name] for name in official.needed()}
    for other, name in official.others.items():
        names[name].append(other)
    for split, name in files.items():
        names[official.splits[split]] = [name]
    in_folders = [
        {
            name: folder / candidate
            for name, candidates in names.items()
            for candidate in reversed(candidates)
            if (folder / candidate).is_file()
        }
        for folder in (directory, directory / official.folder)
    ]
    return max(in_folders, key=len)


def _missing(
    task_name: str,
    missing: list[str],
    directory: Path,
    official: OfficialFiles,
) -> str:
    """Says what is absent, where it was sought, and what can be done."""
    inside = directory / official.folder
    folders = [folder for folder in (inside, directory) if folder.is_dir()]
    there = sorted(path.name for path in folders[0].iterdir())
    found = ", ".join(there[:20]) or "nothing"
    return (
        f"{task_name} needs {', '.join(missing)}. Looked in "
        f"{' and '.join(map(str, folders))}; found {found}. To make a split of "
        "another file, name it (--file train=NAME); to leave "
        "out what is absent, pass --allow-missing."
    )


def _check_same(
    folder: Path,
    official: OfficialFiles,
    found: Mapping[str, Path],
    by_split: Mapping[str, Path],
) -> None:
    """Refuses a data set that lies in `folder` but was made otherwise."""
    card = prepared.read_card(folder)
    # Cards once had no files that are read for every split.
    shared = {n: found[n] for n in official.shared if n in (card or {})}
    if card == prepared.describe({**by_split, **shared}):
        return
    made_of = (
        "by tfds itself"
        if card is None
        else "of " + ", ".join(dict.fromkeys(x["file"] for x in card.values()))
    )
    raise ValueError(
        f"{folder} holds this data set already, made {made_of}. Remove that "
        "folder to prepare it from other files."
    )


def _build(
    source: TfdsSource,
    official: OfficialFiles,
    found: Mapping[str, Path],
    by_split: Mapping[str, Path],
) -> bool:
    """Builds in a temporary folder beside, and renames the finished one.

    Returns:
        Whether it is in its place: another process may have been faster.
    """
    source.root.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=source.root, prefix=".prepare-"))
    try:
        staged = temporary / "files"
        inside = staged / official.folder if official.is_archive else staged
        inside.mkdir(parents=True)
        for name, path in found.items():
            (inside / name).symlink_to(path.resolve())
        built = dataclasses.replace(source, data_dir=str(temporary / "data"))
        _generate(built, staged, by_split)
        shared = {name: found[name] for name in official.shared}
        prepared.write_card(built.folder, {**by_split, **shared})
        _flush(built.folder)
        source.folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(built.folder, source.folder)
        except OSError:
            if not source.folder.is_dir():
                raise
            return False
        return True
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Waits until all files are on the disk, not only in its cache."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _generate(
    source: TfdsSource, staged: Path, by_split: Mapping[str, Path]
) -> None:
    """Runs tfds' builder over the staged files, for the wanted splits."""
    import tensorflow_datasets as tfds

    builder = source.builder()
    all_generators = builder._split_generators

    def wanted_generators(manager: Any) -> list[Any]:
        generators = all_generators(manager)
        return [item for item in generators if item.name in by_split]

    builder._split_generators = wanted_generators
    builder._make_download_manager = lambda **_: _local_files(staged)
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    try:
        # tfds prints that it downloads, which it does not.
        with _progress_bars(), contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(download_config=config)
    except OSError:  # a full disk and the like speaks for itself
        raise
    except Exception as error:
        files = ", ".join(str(path) for path in by_split.values())
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(
            f"tfds cannot read {files} as {source.name} ({reason[:200]}). Are "
            "they the official files of this data set?"
        ) from error
    for split, path in by_split.items():
        if not builder.info.splits[split].num_examples:
            raise ValueError(f"There are no rows in {path}.")


@contextlib.contextmanager
def _progress_bars() -> Iterator[None]:
    """Shows tfds' progress bars on a terminal, not in a file."""
    import tensorflow_datasets as tfds

    is_shown = sys.stderr.isatty()
    if not is_shown:
        tfds.disable_progress_bar()
    try:
        yield
    finally:
        if not is_shown:
            tfds.enable_progress_bar()


def _local_files(staged: Path) -> Any:
    """A download manager that answers with a folder in place of a network."""
    import tensorflow_datasets as tfds

    class LocalFiles(tfds.download.DownloadManager):
        """Gives `staged` for a .zip file, and else the file in it."""

        def download_and_extract(self, urls: Any) -> Any:
            if isinstance(urls, Mapping):
                return {key: self.download(urls[key]) for key in urls}
            path = urllib.parse.unquote(urllib.parse.urlparse(urls).path)
            name = path.rsplit("/", maxsplit=1)[-1]
            return str(staged if name.endswith(".zip") else staged / name)

        download = download_and_extract

    return LocalFiles(download_dir=staged / "downloads")
