"""Many prompts before one model: each row of a batch has its own.

Letters: N prompts, B batch, S input tokens, P the longest prompt's length,
D d_model.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_prompt.arguments import check_integers
from keras_prompt.layers.prompt_embedding import (
    check_token_embeddings_shape,
    output_spec,
)
from keras_prompt.layers.saved_prompts import read_prompts, write_prompts
from keras_prompt.prompt_files import PromptCard, PromptFile, read_prompt
from keras_prompt.registry import lookup
from keras_prompt.types import Tensor


@keras.saving.register_keras_serializable(package="keras_prompt")
class PromptBank(keras.layers.Layer):
    """Puts each row's own prompt before its embedded input.

    Row i comes out as `PromptEmbedding` would make it with that prompt alone:
    a shorter prompt leaves no gap before the text, since T5's positions are
    relative; what room it leaves is padding at the row's end. Lester et al.
    2021, figure 2.

    Each prompt is a float32 weight of its own. Unequal lengths then cost no
    number that nothing reads, and an optimizer that treats weights apart
    treats prompts apart. `Adafactor` leaves those that a batch lacks alone.

    Args:
        prompt_lengths: each prompt's number of vectors by the prompt's name,
            usually its task's.
        prompt_initializer: of every prompt; see `PromptEmbedding`. One with
            a seed of its own draws the same numbers for each.
        name: of the layer.

    Call arguments:
        token_embeddings: float (B, S, D).
        task_index: int (B,), each row's prompt, counted in the order of
            `names`.
        padding_mask: bool (B, S), True where real, padding last; defaults to
            all True.

    Returns:
        float (B, P + S, D) of the input's type, and bool (B, P + S).

    Attributes:
        names: the prompts' names.
        prompts: the weights by name, each (its length, D), once built.
        cards: what is known, by name, of the prompts that were loaded.

    Raises:
        ValueError: there are no prompts, a name is empty, or a length is not
            a positive integer.
    """

    def __init__(
        self,
        prompt_lengths: Mapping[str, int],
        prompt_initializer: Any = None,
        name: str = "prompt_bank",
        **kwargs: Any,
    ) -> None:
        # The output has the input's type, whatever this layer's own. The name
        # is not Keras' numbered one: it is part of the weights' names, which
        # a run that resumes in the same process must find again.
        super().__init__(autocast=False, name=name, **kwargs)
        if not isinstance(prompt_lengths, Mapping) or not prompt_lengths:
            raise ValueError(
                "`prompt_lengths` must give at least one prompt's length by "
                f"its name. Received: prompt_lengths={prompt_lengths!r}"
            )
        for name, length in prompt_lengths.items():
            if not isinstance(name, str) or not name:
                raise ValueError(
                    "A prompt's name must be text. "
                    f"Received: {name!r} in `prompt_lengths`"
                )
            check_integers(prompt_length=(length, 1))
        self.prompt_lengths = {n: int(p) for n, p in prompt_lengths.items()}
        self.prompt_initializer = (
            keras.initializers.RandomUniform(-0.5, 0.5)
            if prompt_initializer is None
            else keras.initializers.get(prompt_initializer)
        )
        self.cards: dict[str, PromptCard] = {}
        self._refused = (0, "")  # the file that was, and why

    @classmethod
    def load(
        cls, folders: Sequence[str | Path] | Mapping[str, str | Path]
    ) -> "PromptBank":
        """Reads exported prompts into a bank.

        Args:
            folders: of `export_prompt`. A prompt is named after its card's
                task, or its folder where the card has none; a mapping from
                names to folders names them otherwise.

        Raises:
            FileNotFoundError: nothing is at a path, or files are missing.
            ValueError: a folder is damaged, two prompts have one name, or
                not all were tuned on one base.
        """
        if isinstance(folders, (str, Path)) or not folders:
            raise ValueError(
                "`folders` must be several prompts' folders, at least one. "
                f"Received: {folders!r}"
            )
        files = dict(_read(folders))
        first_name, first = next(iter(files.items()))
        for name, file in files.items():
            if file.card.fingerprint != first.card.fingerprint:
                raise ValueError(
                    f"All prompts of a bank must be of one base: '{name}' was "
                    f"tuned on {file.card.describe_base()}, '{first_name}' on "
                    f"{first.card.describe_base()}."
                )
            if file.card.d_model != first.card.d_model:
                raise ValueError(
                    f"All prompts of a bank must have one width: '{name}' has "
                    f"d_model {file.card.d_model}, '{first_name}' "
                    f"{first.card.d_model}."
                )
        bank = cls({name: len(file.prompt) for name, file in files.items()})
        bank.build((None, None, first.card.d_model))
        for name, file in files.items():
            bank.prompts[name].assign(file.prompt)
            bank.cards[name] = file.card
        return bank

    @property
    def names(self) -> list[str]:
        """The prompts' names, in the order that `task_index` counts."""
        return list(self.prompt_lengths)

    def index(self, names: Iterable[str]) -> npt.NDArray[np.int32]:
        """Names to a `task_index`, int32.

        Raises:
            ValueError: a prompt is not in the bank; the message suggests the
                nearest.
        """
        places = {name: place for place, name in enumerate(self.names)}
        found = [lookup("task", name, places) for name in names]
        return np.asarray(found, np.int32)

    def build(
        self,
        token_embeddings_shape: tuple[int | None, ...],
        task_index_shape: tuple[int | None, ...] | None = None,
        padding_mask_shape: tuple[int | None, ...] | None = None,
    ) -> None:
        check_token_embeddings_shape(token_embeddings_shape)
        self.prompts: dict[str, keras.Variable] = {}
        for place, (name, length) in enumerate(self.prompt_lengths.items()):
            weight = self.add_weight(
                # Two tasks may differ only in what a variable's name forbids.
                name=f"{place:03d}_{re.sub(r'[^A-Za-z0-9_.-]', '.', name)}",
                shape=(length, token_embeddings_shape[-1]),
                initializer=self._one_initializer(),
                dtype="float32",
                autocast=False,
            )
            weight.may_be_absent = True  # from a batch; for `Adafactor`
            self.prompts[name] = weight
        self.built = True

    def _one_initializer(self) -> Any:
        """A prompt's own: one object would draw the same for every prompt."""
        initializer = self.prompt_initializer
        if isinstance(initializer, keras.initializers.Initializer):
            # A copy takes a seed anew, unless it was given one.
            return initializer.clone()
        return initializer

    def call(
        self,
        token_embeddings: Tensor,
        task_index: Tensor,
        padding_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        if padding_mask is None:
            padding_mask = tf.ones_like(token_embeddings[:, :, 0], tf.bool)
        lengths = list(self.prompt_lengths.values())
        longest = max(lengths)
        table = tf.stack(
            [
                tf.pad(weight.value, [[0, longest - length], [0, 0]])
                for weight, length in zip(
                    self.prompts.values(), lengths, strict=True
                )
            ]
        )  # (N, P, D)
        table = tf.cast(table, token_embeddings.dtype)
        prompts = tf.gather(table, task_index)  # (B, P, D)
        length = tf.gather(tf.constant(lengths), task_index)
        return prepend(prompts, length, token_embeddings, padding_mask)

    def compute_output_shape(
        self,
        token_embeddings_shape: tuple[int | None, ...],
        task_index_shape: tuple[int | None, ...],
        padding_mask_shape: tuple[int | None, ...] | None = None,
    ) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
        batch, length, width = token_embeddings_shape
        if length is not None:
            length += max(self.prompt_lengths.values())
        return (batch, length, width), (batch, length)

    def compute_output_spec(
        self,
        token_embeddings: Any,
        task_index: Any,
        padding_mask: Any = None,
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        shapes = self.compute_output_shape(
            token_embeddings.shape, task_index.shape
        )
        return output_spec(token_embeddings, shapes)

    def save_own_variables(self, store: Any) -> None:
        write_prompts(store, self.prompts)

    def load_own_variables(self, store: Any) -> None:
        # Keras goes on to look in other places of the file, where nothing is,
        # and reports what was wrong at the last.
        file, words = self._refused
        if file == id(store) and not store.keys():
            raise ValueError(words)
        try:
            values = read_prompts(store, self.prompts)
        except ValueError as error:
            self._refused = id(store), str(error)
            raise
        for name, weight in self.prompts.items():
            weight.assign(values[name])

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["prompt_lengths"] = dict(self.prompt_lengths)
        config["prompt_initializer"] = keras.initializers.serialize(
            self.prompt_initializer
        )
        config["cards"] = {
            name: dataclasses.asdict(card) for name, card in self.cards.items()
        }
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PromptBank":
        config = dict(config)
        cards = config.pop("cards", {})
        bank = cls(**config)
        for name, values in cards.items():
            words = tuple(values["label_words"])  # a list once it was JSON
            bank.cards[name] = PromptCard(**values | {"label_words": words})
        return bank


def prepend(
    prompts: Tensor,
    prompt_lengths: Tensor,
    token_embeddings: Tensor,
    padding_mask: Tensor,
) -> tuple[Tensor, Tensor]:
    """Puts a prompt before each row's embedded input, without a gap.

    Args:
        prompts: float (B, P, D), of the embeddings' type.
        prompt_lengths: int32 (B,), how many of the P vectors are the row's.
        token_embeddings: float (B, S, D).
        padding_mask: bool (B, S), True where real, padding last.

    Returns:
        (B, P + S, D), and bool (B, P + S); the room that a shorter prompt
        leaves is padding at the row's end.
    """
    joined = tf.concat([prompts, token_embeddings], axis=1)
    longest, size = tf.shape(prompts)[1], tf.shape(joined)[1]
    length = prompt_lengths[:, None]
    visible = tf.range(longest) < length
    mask = tf.concat([visible, tf.cast(padding_mask, tf.bool)], axis=1)
    position = tf.range(size)[None]
    source = position + tf.where(position < length, 0, longest - length)
    inside = tf.minimum(source, size - 1)
    moved = tf.gather(joined, inside, batch_dims=1)
    moved_mask = tf.gather(mask, inside, batch_dims=1) & (source < size)
    moved.set_shape(joined.shape)
    moved_mask.set_shape(mask.shape)
    return moved, moved_mask


def _read(
    folders: Sequence[str | Path] | Mapping[str, str | Path],
) -> Iterable[tuple[str, PromptFile]]:
    if isinstance(folders, Mapping):
        for name, folder in folders.items():
            yield name, read_prompt(folder)
        return
    named: dict[str, str | Path] = {}
    for folder in folders:
        file = read_prompt(folder)
        name = file.card.task or Path(folder).resolve().name
        if name in named:
            raise ValueError(
                f"'{named[name]}' and '{folder}' are both prompts of '{name}'. "
                "Name them: PromptBank.load({'first': …, 'second': …})."
            )
        named[name] = folder
        yield name, file
