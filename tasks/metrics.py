"""t5's metrics, imported when first called: `(targets, predictions) -> dict`.

All values run from 0 to 100 (Matthews' correlation from -100). Each task has
those that t5 gives it (`t5.data.glue_utils`).
"""

from collections.abc import Mapping
from typing import Any


def accuracy(targets: list[Any], predictions: list[Any]) -> Mapping[str, float]:
    """Share of predictions equal to their target."""
    from t5.evaluation import metrics

    return metrics.accuracy(targets, predictions)


def f1(targets: list[int], predictions: list[int]) -> Mapping[str, float]:
    """F1 of class 1; what is neither 0 nor 1 counts as wrong."""
    from t5.evaluation import metrics

    return metrics.f1_score_with_invalid(targets, predictions)


def mean_3class_f1(
    targets: list[int], predictions: list[int]
) -> Mapping[str, float]:
    """Unweighted mean of the F1 of classes 0, 1 and 2."""
    from t5.evaluation import metrics

    return metrics.mean_multiclass_f1(num_classes=3)(targets, predictions)


def matthews_correlation(
    targets: list[int], predictions: list[int]
) -> Mapping[str, float]:
    """Matthews' correlation, SuperGLUE's metric for AX-b; -100 to 100."""
    from t5.evaluation import metrics

    return metrics.sklearn_metrics_wrapper(
        "matthews_corrcoef", metric_post_process_fn=lambda value: 100 * value
    )(targets, predictions)


def multirc_f1(
    targets: list[dict[str, Any]], predictions: list[dict[str, Any]]
) -> Mapping[str, float]:
    """F1 over all answers of all questions (F1a)."""
    from t5.evaluation import metrics

    return metrics.multirc_f1_over_all_answers(targets, predictions)


def multirc_exact_match(
    targets: list[dict[str, Any]], predictions: list[dict[str, Any]]
) -> Mapping[str, float]:
    """Share of questions of which every answer is judged rightly."""
    from t5.evaluation import metrics

    return metrics.mean_group_metric(metrics.all_match)(targets, predictions)


def record(
    targets: list[dict[str, Any]], predictions: list[dict[str, Any]]
) -> Mapping[str, float]:
    """Exact match and F1, the best over answers, once for each query."""
    from t5.evaluation import metrics

    return metrics.deduplicate_metric(metrics.squad)(targets, predictions)


def squad(
    targets: list[list[str]], predictions: list[str]
) -> Mapping[str, float]:
    """Exact match and F1, the best over answers."""
    from t5.evaluation import metrics

    return metrics.squad(targets, predictions)
