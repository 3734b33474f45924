"""SuperGLUE's eight tasks and two diagnostics, one `Task(...)` each.

Texts, postprocessors and metrics are t5's (`t5.data.tasks`), without the
task's name. The label words are those of Lester et al. 2021, tables 8 to 16;
ReCoRD and WSC are generative, so theirs describe the task. Rows are counted
in table 7 and, for the diagnostics, in Wang et al. 2019.
"""

from keras_prompt.tasks import metrics, postprocessors, text
from keras_prompt.tasks.postprocessors import LabelIndex
from keras_prompt.tasks.task import Task
from keras_prompt.tasks.text import LabelledFields
from keras_prompt.tasks.tfds_source import TfdsSource

_FALSE_TRUE = ("False", "True")
_ENTAILMENT = ("entailment", "not_entailment")

BOOLQ = Task(
    name="super_glue/boolq",
    source=TfdsSource(
        "super_glue/boolq",
        version="1.0.2",
        rows={"train": 9427, "validation": 3270, "test": 3245},
    ),
    preprocessors=(
        LabelledFields("boolq", _FALSE_TRUE),
        text.without_task_name,
    ),
    labels=_FALSE_TRUE,
    postprocessor=LabelIndex(_FALSE_TRUE),
    metrics=(metrics.accuracy,),
)

_CB_LABELS = ("entailment", "contradiction", "neutral")
CB = Task(
    name="super_glue/cb",
    source=TfdsSource(
        "super_glue/cb",
        version="1.0.2",
        rows={"train": 250, "validation": 56, "test": 250},
    ),
    preprocessors=(LabelledFields("cb", _CB_LABELS), text.without_task_name),
    labels=_CB_LABELS,
    postprocessor=LabelIndex(_CB_LABELS),
    metrics=(metrics.mean_3class_f1, metrics.accuracy),
)

_COPA_LABELS = ("choice1", "choice2")
COPA = Task(
    name="super_glue/copa",
    source=TfdsSource(
        "super_glue/copa",
        version="1.0.2",
        rows={"train": 400, "validation": 100, "test": 500},
    ),
    preprocessors=(
        LabelledFields("copa", _COPA_LABELS),
        text.without_task_name,
    ),
    labels=_COPA_LABELS,
    postprocessor=LabelIndex(_COPA_LABELS),
    metrics=(metrics.accuracy,),
)

MULTIRC = Task(
    name="super_glue/multirc",
    source=TfdsSource(
        "super_glue/multirc",
        version="1.0.2",
        rows={"train": 27243, "validation": 4848, "test": 9693},
    ),
    preprocessors=(
        LabelledFields(
            "multirc", _FALSE_TRUE, fields=("question", "answer", "paragraph")
        ),
        text.without_task_name,
    ),
    labels=_FALSE_TRUE,
    postprocessor=postprocessors.multirc,
    metrics=(metrics.multirc_f1, metrics.multirc_exact_match),
)

RECORD = Task(
    name="super_glue/record",
    source=TfdsSource(
        "super_glue/record",
        version="1.0.2",
        rows={"train": 100730, "validation": 10000, "test": 10000},
    ),
    preprocessors=(text.record, text.without_task_name),
    labels=("commonsense", "reasoning", "reading", "comprehension"),
    postprocessor=postprocessors.record,
    metrics=(metrics.record,),
    closed=False,
)

RTE = Task(
    name="super_glue/rte",
    source=TfdsSource(
        "super_glue/rte",
        version="1.0.2",
        rows={"train": 2490, "validation": 277, "test": 3000},
    ),
    preprocessors=(LabelledFields("rte", _ENTAILMENT), text.without_task_name),
    labels=_ENTAILMENT,
    postprocessor=LabelIndex(_ENTAILMENT),
    metrics=(metrics.accuracy,),
)

WIC = Task(
    name="super_glue/wic",
    source=TfdsSource(
        "super_glue/wic",
        version="1.0.2",
        rows={"train": 5428, "validation": 638, "test": 1400},
    ),
    preprocessors=(
        # The words' positions in the sentences are not used.
        LabelledFields(
            "wic", _FALSE_TRUE, fields=("sentence1", "sentence2", "word")
        ),
        text.without_task_name,
    ),
    labels=_FALSE_TRUE,
    postprocessor=LabelIndex(_FALSE_TRUE),
    metrics=(metrics.accuracy,),
)

# Trained to name the referent, so only on the 259 of its 554 rows whose noun
# is the referent; evaluated on all rows.
WSC = Task(
    name="super_glue/wsc",
    source=TfdsSource(
        "super_glue/wsc.fixed",
        version="1.0.2",
        rows={"train": 554, "validation": 104, "test": 146},
    ),
    train_preprocessors=(text.only_true,),
    preprocessors=(text.winograd, text.without_task_name),
    labels=("commonsense", "pronoun", "resolution"),
    postprocessor=postprocessors.wsc,
    metrics=(metrics.accuracy,),
    closed=False,
)

# The diagnostics are read by a prompt for RTE. They have but a test split,
# with labels, for which t5 has no metric; these are SuperGLUE's.
AXB = Task(
    name="super_glue/axb",
    source=TfdsSource("super_glue/axb", version="1.0.2", rows={"test": 1104}),
    preprocessors=(
        text.sentences_to_rte,
        LabelledFields("rte", _ENTAILMENT),
        text.without_task_name,
    ),
    labels=_ENTAILMENT,
    postprocessor=LabelIndex(_ENTAILMENT),
    metrics=(metrics.matthews_correlation,),
)

AXG = Task(
    name="super_glue/axg",
    source=TfdsSource("super_glue/axg", version="1.0.2", rows={"test": 356}),
    preprocessors=(LabelledFields("rte", _ENTAILMENT), text.without_task_name),
    labels=_ENTAILMENT,
    postprocessor=LabelIndex(_ENTAILMENT),
    metrics=(metrics.accuracy,),
)
