"""Whether a vocabulary tells a task's labels apart, and can write them."""

import warnings

from keras_prompt.tasks.task import Task
from keras_prompt.tokenizer import Tokenizer


def check_labels(task: Task, tokenizer: Tokenizer) -> None:
    """Refuses labels that are one to a model.

    What a vocabulary has no piece for is its unknown token, whatever it is.

    Args:
        task: closed, or it has nothing to refuse.
        tokenizer: the model's.

    Raises:
        ValueError: two labels have the same token ids.
    """
    labels: dict[tuple[int, ...], str] = {}
    for label in task.labels if task.closed else ():
        ids = tuple(tokenizer.encode(task.to_write(label)))
        if ids in labels:
            raise ValueError(
                f"The labels of task '{task.name}' must differ in the model's "
                f"vocabulary. '{labels[ids]}' and '{label}' have the same "
                f"token ids {list(ids)}. Choose other words."
            )
        labels[ids] = label


def warn_of_unwritable(task: Task, tokenizer: Tokenizer) -> None:
    """Warns of labels that no generated text is equal to.

    Args:
        task: closed, or there is nothing to warn of.
        tokenizer: the model's.
    """
    for label in task.labels if task.closed else ():
        ids = tokenizer.encode(task.to_write(label))
        written = task.read(tokenizer.decode(ids))
        if written != label:
            warnings.warn(
                f"The label {label!r} of task '{task.name}' is {written!r} "
                "when this model writes it, so no answer is equal to it. Use "
                "answer_by='rank', or another word.",
                stacklevel=2,
            )
