"""t5's postprocessors, imported when first called.

Each takes text, and by keyword the example and whether the text is a target.
"""

import dataclasses
from typing import Any

from keras_prompt.tasks.task import Example


@dataclasses.dataclass(frozen=True)
class LabelIndex:
    """The place of a label in a list; -1 for any other text.

    Attributes:
        labels: every legal label.

    >>> LabelIndex(("no", "yes"))("yes", example={}, is_target=False)
    1
    """

    labels: tuple[str, ...]

    def __call__(self, text: str, *, example: Example, is_target: bool) -> int:
        """Index of `text`."""
        from t5.data import postprocessors

        return int(postprocessors.string_label_to_class_id(text, self.labels))


def multirc(text: str, *, example: Example, is_target: bool) -> dict[str, Any]:
    """0 or 1 (False or True) or -1; a target names its question, too."""
    from t5.data import postprocessors

    return postprocessors.multirc(text, example=example, is_target=is_target)


def record(text: str, *, example: Example, is_target: bool) -> dict[str, Any]:
    """The text; a target gives all answers and names its query."""
    from t5.data import postprocessors

    return postprocessors.record(text, example=example, is_target=is_target)


def wsc(text: str, *, example: Example, is_target: bool) -> int:
    """1 if the text names the referent, 0 if not, -1 for no answer.

    A target gives its label, with which no answer, -1, never agrees. "Bob"
    does not name "Bob's hat", while "fuzzy bunny" names "the bunny".
    """
    from t5.data import postprocessors

    return int(
        postprocessors.wsc_simple(text, example=example, is_target=is_target)
    )


def squad(text: str, *, example: Example, is_target: bool) -> str | list[str]:
    """The text; a target gives all answers."""
    from t5.data import postprocessors

    return postprocessors.qa(text, example=example, is_target=is_target)
