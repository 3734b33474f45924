"""Prompt tuning in Keras: one frozen T5, one small matrix a task.

Names are loaded when they are first used, so that `import keras_prompt` and
`keras-prompt --help` answer at once.
"""

import importlib
from typing import Any

from keras_prompt.version import __version__

_HOMES = {
    "Adafactor": "keras_prompt.optimizers",
    "BankEvaluator": "keras_prompt.training.bank_evaluator",
    "MeshT5Backbone": "keras_prompt.models.t5.backbone",
    "PlainT5": "keras_prompt.models.plain_t5",
    "PromptBank": "keras_prompt.layers.prompt_bank",
    "PromptBankT5": "keras_prompt.models.prompt_bank_t5",
    "PromptCheckpoint": "keras_prompt.training.checkpoint",
    "PromptEnsemble": "keras_prompt.models.ensemble",
    "PromptEmbedding": "keras_prompt.layers.prompt_embedding",
    "PromptTunedT5": "keras_prompt.models.prompt_tuned_t5",
    "T5Config": "keras_prompt.models.t5.config",
    "TaskEvaluator": "keras_prompt.training.evaluator",
    "TokenCrossentropy": "keras_prompt.losses",
    "Tokenizer": "keras_prompt.tokenizer",
    "export_npy": "keras_prompt.export.other_tools",
    "export_peft": "keras_prompt.export.other_tools",
    "assemble_release": "keras_prompt.export.assemble",
    "evaluate_ensemble": "keras_prompt.training.ensemble",
    "evaluate_tasks": "keras_prompt.training.bank_evaluator",
    "export_prompt": "keras_prompt.export.prompt",
    "export_server": "keras_prompt.export.server",
    "get_strategy": "keras_prompt.training.strategy",
    "import_prompt": "keras_prompt.export.other_tools",
    "load_prompt": "keras_prompt.export.prompt",
    "make_dataset": "keras_prompt.tasks.pipeline",
    "make_mixture_dataset": "keras_prompt.tasks.mixture",
}
_MODULES = (
    "initial_prompts",
    "losses",
    "models",
    "optimizers",
    "serving",
    "tasks",
)

__all__ = ["__version__", *sorted([*_HOMES, *_MODULES])]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"keras_prompt.{name}")
    raise AttributeError(f"module 'keras_prompt' has no attribute '{name}'")


def __dir__() -> list[str]:
    return list(__all__)
