"""From a tuned model to a prompt folder, and back into a model."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from keras_prompt.models.prompted_t5 import PromptedT5
from keras_prompt.prompt_files import (
    PromptCard,
    folder_bytes,
    read_prompt,
    write_prompt,
)
from keras_prompt.types import FloatArray

__all__ = ["export_prompt", "folder_bytes", "load_prompt", "read_prompt"]

_RECORDED = ("keras-prompt", "tensorflow", "keras", "mesh-tensorflow")


def export_prompt(
    model: PromptedT5,
    path: str | Path,
    *,
    prompt: ArrayLike | None = None,
    task: str | None = None,
    label_words: Sequence[str] = (),
    steps: int | None = None,
    seed: int | None = None,
    score: float | None = None,
    metrics: Mapping[str, float] | None = None,
) -> int:
    """Writes a model's prompt as a SavedModel that holds nothing else.

    Args:
        model: whose prompt, and whose base's fingerprint, are written.
        path: folder to make; one that is empty or holds nothing but a prompt
            is replaced, in one step.
        prompt: float32 (P, D) instead of the model's present one, such as
            `model.best.prompt`.
        task: its name, for the card, as are the following; of a bank's
            model, whose prompt is exported.
        label_words: the legal outputs.
        steps: optimizer steps behind the prompt; defaults to those of
            `model.best` if this is that prompt.
        seed: of the run.
        score: on the evaluation split; defaults as `steps` does.
        metrics: of which the score is one, or the mean.

    Returns:
        Bytes of all files: 4 * P * D and about 17 KB of graph and card.

    Raises:
        ValueError: the folder holds something else than a prompt, the model
            has none, or none of the task, or `prompt` is not of its width.
        OSError: the place cannot be written; nothing is left behind.
    """
    name = model.prompt_name(task)
    vectors: FloatArray
    if prompt is None:
        vectors = model.prompt_weights[name].numpy()
    else:
        vectors = checked_prompt(model, prompt)
    best = model.best_prompts.get(name)
    if best is not None and np.array_equal(best.prompt, vectors):
        steps = best.step if steps is None else steps
        score = best.score if score is None else score
    card = make_card(
        model,
        vectors,
        task=task,
        label_words=label_words,
        steps=steps,
        seed=seed,
        score=score,
        metrics=metrics,
    )
    return write_prompt(path, vectors, card)


def checked_prompt(model: PromptedT5, prompt: ArrayLike) -> FloatArray:
    """A prompt that the model could have, float32 (P, D).

    Args:
        model: for its D.
        prompt: an array, a variable or lists.

    Raises:
        ValueError: it is not (P, D) with the model's D.
    """
    vectors: FloatArray = np.asarray(prompt, np.float32)
    width = model.backbone.config.d_model
    if vectors.ndim != 2 or not len(vectors) or vectors.shape[1] != width:
        raise ValueError(
            f"`prompt` must have shape (prompt_length, {width}), the width of "
            f"{model.backbone.preset}. Received: shape {vectors.shape}"
        )
    return vectors


def make_card(
    model: PromptedT5,
    prompt: FloatArray,
    *,
    task: str | None = None,
    label_words: Sequence[str] = (),
    steps: int | None = None,
    seed: int | None = None,
    score: float | None = None,
    metrics: Mapping[str, float] | None = None,
) -> PromptCard:
    """The card of a prompt of this model's base.

    Args:
        model: whose base's name and fingerprint are recorded.
        prompt: float32 (P, D).
        task: its name, as `export_prompt` takes it, and the following.
        label_words: the legal outputs.
        steps: optimizer steps behind the prompt.
        seed: of the run.
        score: on the evaluation split.
        metrics: of which the score is one, or the mean.
    """
    return PromptCard(
        base=model.backbone.preset,
        fingerprint=model.backbone.fingerprint(),
        prompt_length=prompt.shape[0],
        d_model=prompt.shape[1],
        task=task,
        label_words=tuple(label_words),
        steps=None if steps is None else int(steps),
        seed=None if seed is None else int(seed),
        score=None if score is None else float(score),
        metrics={n: float(m) for n, m in (metrics or {}).items()},
        versions={n: importlib.metadata.version(n) for n in _RECORDED},
    )


def refuse_other_shape(
    model: PromptedT5,
    path: str | Path,
    theirs: Sequence[int],
    mine: Sequence[int],
) -> None:
    """Refuses a prompt that a model has no room for.

    Args:
        model: for its name.
        path: of the prompt.
        theirs: its shape.
        mine: the shape of the weight it is for.

    Raises:
        ValueError: they differ; the message says in what.
    """
    names = ("prompt_length", "d_model")
    for name, found, expected in zip(names, theirs, mine, strict=True):
        if found != expected:
            raise ValueError(
                f"Prompt '{path}' has {name} {found}; the model "
                f"({model.backbone.preset}) has {name} {expected}."
            )


def load_prompt(model: PromptedT5, path: str | Path) -> PromptCard:
    """Puts an exported prompt into a model with the same base.

    Args:
        model: its `prompt_length` must be the prompt's; of a bank's model,
            that of the prompt of the card's task.
        path: the prompt's folder.

    Returns:
        The prompt's card.

    Raises:
        FileNotFoundError: nothing is there, or files are missing.
        ValueError: the prompt is for another base or another length, or a
            file is truncated; the model is as it was.
    """
    prompt, card = read_prompt(path)
    base = model.backbone
    card.refuse_other_base(
        path, base.fingerprint(), f"this model is {base.preset}"
    )
    name = model.prompt_name(card.task)
    mine = model.prompt_weights[name].shape
    refuse_other_shape(model, path, prompt.shape, mine)
    model.set_prompt(name, prompt)
    return card
