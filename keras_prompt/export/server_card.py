"""What is known of an exported server, beside it for people and clients."""

import dataclasses
import json
from pathlib import Path

from keras_prompt.atomic_files import check_replaceable

CARD = "assets.extra/server.json"
FORMAT_VERSION = 1
_NAMES = (
    r"saved_model\.pb|fingerprint\.pb|variables|assets|assets\.extra"
    r"|frozen_part"  # of a base of releases, `checkpoint_parts.PARTS`
)


@dataclasses.dataclass(frozen=True)
class ServerCard:
    """What is known of an exported server.

    Attributes:
        base: the backbone's preset.
        fingerprint: of its weights; prompts of another are refused.
        d_model: D.
        vocab_size: ids must be below it.
        input_length: the most tokens of an input, EOS included.
        max_length: the most tokens that are written, EOS included.
        prompt_root: where the prompts' folders are looked for; none where
            the prompts are in the SavedModel, put there by `assemble`.
        tasks: that are in the SavedModel.
        takes_text: whether there are signatures of texts.
        format_version: of this folder.
    """

    base: str
    fingerprint: str
    d_model: int
    vocab_size: int
    input_length: int
    max_length: int
    prompt_root: str | None
    tasks: tuple[str, ...] = ()
    takes_text: bool = False
    format_version: int = FORMAT_VERSION


def write_server_card(folder: Path, card: ServerCard) -> None:
    """Puts the card where TensorFlow Serving leaves it alone."""
    (folder / CARD).parent.mkdir(exist_ok=True)
    text = json.dumps(dataclasses.asdict(card), indent=2) + "\n"
    (folder / CARD).write_text(text)


def absolute_root(prompt_root: str | Path) -> str:
    """The folder of the prompts' folders, as the served graph has it.

    Raises:
        ValueError: it is empty, has characters that the graph would take for
            a pattern, or is an address.
    """
    if prompt_root == "":
        raise ValueError(
            "`prompt_root` must name a folder; of the current one that is '.'. "
            "Received: prompt_root=''"
        )
    if "://" in str(prompt_root):
        raise ValueError(
            "`prompt_root` must be a folder of the server's file system, where "
            f"a bucket can be mounted. Received: {str(prompt_root)!r}"
        )
    root = str(Path(prompt_root).absolute())
    if set(root) & set("*?[]\\\n"):
        raise ValueError(
            "`prompt_root` must not contain any of * ? [ ] \\ or a line end, "
            f"which are patterns to TensorFlow. Received: {root!r}"
        )
    return root


def refuse_other_content(path: str | Path) -> None:
    """Refuses a folder that holds something else than an exported server.

    Raises:
        ValueError: it does.
    """
    check_replaceable(Path(path), "exported server", CARD, _NAMES)


def read_server_card(path: str | Path) -> ServerCard:
    """The card of an exported server.

    Raises:
        FileNotFoundError: the folder holds no exported server.
        ValueError: its card is damaged, or of another format.
    """
    file = Path(path) / CARD
    if not file.is_file():
        raise FileNotFoundError(f"{path} is no exported server: no {CARD}.")
    try:
        values = json.loads(file.read_text())
        values["tasks"] = tuple(values["tasks"])
        card = ServerCard(**values)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{file} is no server's card: {error}.") from error
    if card.format_version != FORMAT_VERSION:
        raise ValueError(
            f"{file} has format_version {card.format_version}; this version "
            f"of keras_prompt reads {FORMAT_VERSION}."
        )
    return card
