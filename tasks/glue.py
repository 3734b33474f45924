"""Three tasks of GLUE, one `Task(...)` each, as in super_glue.py.

Rows are counted in Lester et al. 2021, table 7, and Wang et al. 2018.
"""

from keras_prompt.tasks import metrics, text
from keras_prompt.tasks.postprocessors import LabelIndex
from keras_prompt.tasks.task import Task
from keras_prompt.tasks.text import LabelledFields
from keras_prompt.tasks.tfds_source import TfdsSource

_MRPC_LABELS = ("not_equivalent", "equivalent")
MRPC = Task(
    name="glue/mrpc",
    source=TfdsSource(
        "glue/mrpc",
        version="1.0.0",
        rows={"train": 3668, "validation": 408, "test": 1725},
    ),
    preprocessors=(
        LabelledFields("mrpc", _MRPC_LABELS),
        text.without_task_name,
    ),
    labels=_MRPC_LABELS,
    postprocessor=LabelIndex(_MRPC_LABELS),
    metrics=(metrics.f1, metrics.accuracy),
)

_QQP_LABELS = ("not_duplicate", "duplicate")
QQP = Task(
    name="glue/qqp",
    source=TfdsSource(
        "glue/qqp",
        version="1.0.0",
        rows={"train": 363849, "validation": 40430, "test": 390965},
    ),
    preprocessors=(LabelledFields("qqp", _QQP_LABELS), text.without_task_name),
    labels=_QQP_LABELS,
    postprocessor=LabelIndex(_QQP_LABELS),
    metrics=(metrics.f1, metrics.accuracy),
)

_SST2_LABELS = ("negative", "positive")
SST2 = Task(
    name="glue/sst2",
    source=TfdsSource(
        "glue/sst2",
        version="1.0.0",
        rows={"train": 67349, "validation": 872, "test": 1821},
    ),
    preprocessors=(
        LabelledFields("sst2", _SST2_LABELS),
        text.without_task_name,
    ),
    labels=_SST2_LABELS,
    postprocessor=LabelIndex(_SST2_LABELS),
    metrics=(metrics.accuracy,),
)
