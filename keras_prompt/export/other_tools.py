"""From a model to a prompt that other tools take, and from theirs to a model.

Lies in `export` because it sees `models`: only a model tells whether a prompt
without a card fits, and whose fingerprint it gets when it is exported.
"""

from pathlib import Path

from numpy.typing import ArrayLike

from keras_prompt.export.prompt import (
    checked_prompt,
    load_prompt,
    refuse_other_shape,
)
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.prompt_formats import formats, npy, peft
from keras_prompt.types import FloatArray


def import_prompt(model: PromptTunedT5, path: str | Path) -> None:
    """Puts a prompt in any format of `prompt_formats.formats` into a model.

    Other tools' prompts do not say which weights they were tuned on; of those
    only the shape can be checked. `export_prompt` then records this model.
    What this package exported goes through `load_prompt`, with its checks.

    Args:
        model: its `prompt_length` must be the prompt's.
        path: of a `.npy` file, a PEFT adapter's folder, a T5X checkpoint, or
            an exported prompt.

    Raises:
        FileNotFoundError: nothing is there, or files are missing.
        ValueError: it holds no prompt, a damaged one, or one of another width
            or length; the model is as it was.
    """
    found = formats.read(path)
    if found.card is not None:
        load_prompt(model, path)
        return
    mine = model.prompt.embeddings.shape
    refuse_other_shape(model, path, found.prompt.shape, mine)
    model.set_prompt(model.prompt_name(None), found.prompt)


def export_npy(
    model: PromptTunedT5, path: str | Path, *, prompt: ArrayLike | None = None
) -> int:
    """Writes a model's prompt as the paper's code does.

    Args:
        model: whose prompt is written.
        path: ends in `.npy`; such a file there is replaced.
        prompt: float32 (P, D) instead of the model's present one.

    Returns:
        Bytes of the file.

    Raises:
        ValueError: the path has another suffix or is a folder, or the prompt
            is not finite or `prompt` not of its width.
        OSError: it cannot be written; nothing is left behind.
    """
    return npy.write(path, _prompt(model, prompt))


def export_peft(
    model: PromptTunedT5, path: str | Path, *, prompt: ArrayLike | None = None
) -> int:
    """Writes a model's prompt as an adapter for PEFT, on torch.

    Args:
        model: whose prompt is written.
        path: folder to make; one that is empty or holds only an adapter is
            replaced, in one step.
        prompt: float32 (P, D) instead of the model's present one.

    Returns:
        Bytes of its files.

    Raises:
        ValueError: the folder holds something else, or the prompt is not
            finite or `prompt` not of its width.
        OSError: it cannot be written; nothing is left behind.
    """
    return peft.write(path, _prompt(model, prompt))


def _prompt(model: PromptTunedT5, prompt: ArrayLike | None) -> FloatArray:
    if prompt is None:
        vectors: FloatArray = model.prompt.embeddings.numpy()
        return formats.finite_float32(vectors, "The model")
    return formats.finite_float32(checked_prompt(model, prompt), "`prompt`")
