"""Reads prompts from a folder while a request runs, inside the graph.

A task is added to a running server by copying its prompt's folder. Whatever
a request asks for, and whatever happens to the files meanwhile, it gets a
status in words; only folders directly below the root are opened.

Letters: B rows, U distinct tasks, P the longest prompt's length, D d_model.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from keras_prompt.prompt_files import CARD, CHECKPOINT, DATA, INDEX, KEY
from keras_prompt.types import Tensor

OK = "ok"
# One folder's name: no separator, no parent, no glob, no hidden folder.
TASK_NAME = "[A-Za-z0-9][A-Za-z0-9_.-]{0,127}"
# A link that is flipped between the openings of a prompt's card, index and data
# makes one reading fail; the next one finds all three of the new prompt.
_ATTEMPTS = 10


class RowPrompts(NamedTuple):
    """Each row's prompt.

    Attributes:
        vectors: float32 (B, P, D), zeros after a prompt's end.
        lengths: int32 (B,), 0 where there is no prompt.
        status: string (B,), "ok" or why there is none.
    """

    vectors: Tensor
    lengths: Tensor
    status: Tensor


def read_row_prompts(
    root: Tensor, tasks: Tensor, *, d_model: int, fingerprint: str
) -> RowPrompts:
    """Reads the prompt of every distinct task once.

    Args:
        root: string scalar, the folder of the prompts' folders.
        tasks: string (B,), names of folders in it.
        d_model: D.
        fingerprint: of the base; prompts of another are refused.
    """
    # With a name that is nobody's, since no names at all would be no table.
    names, place = tf.unique(tf.concat([tasks, [""]], axis=0))
    place = place[:-1]
    vectors, status = tf.map_fn(
        lambda name: _read_one(root, name, d_model, fingerprint),
        names,
        fn_output_signature=(
            tf.RaggedTensorSpec([None, d_model], tf.float32, ragged_rank=0),
            tf.TensorSpec([], tf.string),
        ),
    )
    lengths = tf.cast(vectors.row_lengths(), tf.int32)
    table = vectors.to_tensor(0.0, shape=[None, None, d_model])  # (U, P, D)
    return RowPrompts(
        vectors=tf.gather(table, place),
        lengths=tf.gather(lengths, place),
        status=tf.gather(status, place),
    )


def _read_one(
    root: Tensor, name: Tensor, d_model: int, fingerprint: str
) -> tuple[Tensor, Tensor]:
    """A prompt, float32 (its length, D), and its status."""
    nothing = tf.zeros([0, d_model])

    def refuse(*words: str | Tensor) -> tuple[Tensor, Tensor]:
        return nothing, tf.strings.join([*words])

    unreadable = refuse("prompt '", name, "' cannot be read")

    def read() -> tuple[Tensor, Tensor]:
        folder = tf.strings.join([root, "/", name, "/"])
        is_there = [
            tf.size(tf.io.matching_files(folder + file)) == 1
            for file in (CARD, INDEX, DATA)
        ]
        return tf.cond(
            tf.reduce_all(is_there),
            lambda: first_that_works(lambda: read_folder(folder), unreadable),
            lambda: refuse("unknown task '", name, "'"),
        )

    def read_folder(folder: Tensor) -> tuple[Tensor, Tensor]:
        card = tf.io.read_file(folder + CARD)
        base, theirs = _text(card, "base"), _text(card, "fingerprint")
        other = refuse("prompt '", name, "' is of another base: ", base)
        return tf.case(
            [
                (tf.equal(theirs, fingerprint), lambda: restore(folder, card)),
                (tf.equal(theirs, ""), lambda: unreadable),
            ],
            default=lambda: other,
        )

    def restore(folder: Tensor, card: Tensor) -> tuple[Tensor, Tensor]:
        (prompt,) = tf.raw_ops.RestoreV2(
            prefix=folder + CHECKPOINT,
            tensor_names=[KEY],
            shape_and_slices=[""],
            dtypes=[tf.float32],
        )
        prompt = tf.ensure_shape(prompt, [None, d_model])
        prompt = tf.debugging.check_numerics(prompt, "prompt")
        # Every path is opened anew. A card names its files' hashes, so that
        # no two prompts have the same.
        with tf.control_dependencies([prompt]):
            card_after = tf.io.read_file(folder + CARD)
        is_same = tf.debugging.assert_equal(card_after, card, "prompt replaced")
        with tf.control_dependencies([is_same]):
            return tf.identity(prompt), tf.constant(OK)

    is_name = tf.strings.regex_full_match(name, TASK_NAME)
    # A hostile name is not repeated: it may be long, or no text.
    return tf.cond(is_name, read, lambda: refuse("invalid task name"))


def first_that_works(
    read: Callable[[], tuple[Tensor, Tensor]],
    otherwise: tuple[Tensor, Tensor],
    attempts: int = _ATTEMPTS,
) -> tuple[Tensor, Tensor]:
    """What `read` gives in the first attempt without an error.

    An error of an op ends the whole request, its other rows included. Inside
    a dataset it need not.

    Args:
        read: makes the ops of one attempt.
        otherwise: when every attempt has failed.
        attempts: the most there are.
    """
    found = tf.data.Dataset.range(attempts).map(lambda _: read())
    last = tf.data.Dataset.from_tensors(otherwise)
    return found.ignore_errors().concatenate(last).take(1).get_single_element()


def _text(card: Tensor, field: str) -> Tensor:
    """A text field of a card as JSON has it, "" if there is none."""
    # However the card is laid out. Within a text JSON escapes quotation marks,
    # so this is no part of one; a card's own fields come before nested ones.
    text = r'"((?:[^"\\]|\\.)*)"'
    pattern = rf'(?s)^.*?[{{,]\s*"{field}"\s*:\s*{text}.*$'
    found = tf.strings.regex_replace(card, pattern, r"\1")
    return tf.where(tf.strings.regex_full_match(card, pattern), found, "")
