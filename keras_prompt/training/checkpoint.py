"""Saves all a tuning run needs to go on, and nothing that is frozen."""

import contextlib
import dataclasses
import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors.numpy

from keras_prompt.atomic_files import write_file
from keras_prompt.models.data_position import Position
from keras_prompt.models.prompted_t5 import BestPrompt, PromptedT5
from keras_prompt.training.evaluator import Evaluator
from keras_prompt.training.every_steps import EverySteps
from keras_prompt.training.open_checkpoint import open_checkpoint
from keras_prompt.training.run_folder import CHECKPOINT

_BEST = "best_"  # before a prompt's name
_STEPS = "optimizer/iteration"


@dataclasses.dataclass(frozen=True)
class _State:
    """What is in a checkpoint besides its arrays.

    Attributes:
        shapes: of the arrays; safetensors has none of rank 0.
        base: fingerprint of the model before any training.
        epochs: that are done.
        run: settings that must be equal for the run to go on.
        best: of each best prompt that the arrays hold, its score, the
            optimizer steps behind it, and what evaluation found it.
        batches_before: that the optimizer had had before the run, less those
            that `initial_epoch` left out of it.
    """

    shapes: dict[str, Sequence[int]]
    base: str
    epochs: int
    run: dict[str, Any]
    best: dict[str, tuple[float, int, str]]
    batches_before: int = 0  # as an older file means, which lacks it


def base_of(directory: str | Path) -> str | None:
    """The fingerprint of a saved run's model before any training.

    Returns:
        None if nothing is saved there.

    Raises:
        ValueError: the file is no complete checkpoint.
    """
    path = Path(directory) / CHECKPOINT
    if not path.is_file():
        return None
    with _opened(path) as (state, _):
        return state.base


def steps_of(directory: str | Path) -> int:
    """The batches that a saved run has done, 0 if there is none.

    Raises:
        ValueError: the file is no complete checkpoint.
    """
    path = Path(directory) / CHECKPOINT
    if not path.is_file():
        return 0
    with _opened(path) as (state, file):
        return int(file.get_tensor(_STEPS)[0]) - state.batches_before


class PromptCheckpoint(EverySteps):
    """Saves prompt, optimizer slots, step, data position and best prompt.

    In model tuning all weights of the model take the prompt's place. `fit`
    restores what the folder holds before it starts: a run that was killed
    goes on where it was saved and ends with the same prompt, bit for bit, as
    one that was not. That takes a dataset of `make_dataset`, whose position
    can be set; with any other data, whole epochs are restored. A new run takes
    such a dataset from its start, whatever an earlier `fit` took of it.
    Several workers need one directory that all of them see. Other callbacks
    keep nothing of a run that was stopped: `EarlyStopping` and
    `ReduceLROnPlateau` begin to count anew.

    Args:
        directory: of the run; made if absent.
        every_steps: batches between two saves within an epoch; none saves
            after each epoch only.

    Raises:
        ValueError: `every_steps` is no positive integer; or, in `fit`, the
            file is truncated, or of another model, optimizer, data (rows,
            order or batch size) or evaluation.
        OSError: in `fit`, the file cannot be written.
    """

    def __init__(
        self, directory: str | Path, every_steps: int | None = None
    ) -> None:
        super().__init__(every_steps)
        self.path = Path(directory) / CHECKPOINT
        self._position: Position | None = None
        self._steps_per_epoch: int | None = None
        self._epochs_done = 0
        self._batches_before = 0
        self._base: str | None = None
        self._run: dict[str, Any] | None = None

    def resume(
        self,
        model: PromptedT5,
        initial_epoch: int,
        steps_per_epoch: int | None,
        position: Position | None,
        callbacks: Sequence[keras.callbacks.Callback],
    ) -> int:
        """Restores the run, if there is one, and returns its batches.

        Args:
            model: compiled, its optimizer built.
            initial_epoch: of a run that there is not yet.
            steps_per_epoch: as `fit` counts epochs, if it is known.
            position: of the dataset, if it has one.
            callbacks: all of `fit`, among them what chooses the best prompt.
        """
        if (
            position is not None
            and steps_per_epoch is not None
            and not position.is_endless
            and position.batches_per_epoch % steps_per_epoch
        ):
            raise ValueError(
                "`steps_per_epoch` must divide the batches of the data, "
                f"{position.batches_per_epoch}, for a run to go on within "
                "them, or the data be endless: make_dataset(..., repeat=True). "
                f"Received: steps_per_epoch={steps_per_epoch}"
            )
        self._position = position
        self._steps_per_epoch = steps_per_epoch
        self._epochs_done = 0  # whatever an earlier `fit` did
        self._base = None
        self._run = _run_settings(model, position, callbacks)
        if position is None and self.every_steps is not None:
            warnings.warn(
                "The dataset's position cannot be restored, as only that of "
                "`make_dataset` can; saving after each epoch instead.",
                stacklevel=3,
            )
        begun = initial_epoch * (steps_per_epoch or 0)
        self._batches_before = model.batches_done - begun
        self.restore(model)
        batches = model.batches_done - self._batches_before
        if position is not None:
            position.batch.assign(batches)
        return batches

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        if self._steps_per_epoch is None and self._epochs_done:
            # `fit` cannot tell epochs from steps; Keras' own
            # `BackupAndRestore` tells it in the same way.
            self.model._initial_epoch = self._epochs_done

    def restore(self, model: PromptedT5) -> int:
        """Restores variables; returns the batches behind them, 0 if none."""
        if not self.path.is_file():
            return 0
        variables = _variables(model)
        with _opened(self.path) as (state, file):
            stored = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            best = {
                name: BestPrompt(
                    score, step, stored[f"{_BEST}{name}"], evaluation
                )
                for name, (score, step, evaluation) in state.best.items()
            }
        self._refuse_other_run(state.run)
        shapes = {name: v.numpy().shape for name, v in variables.items()}
        found = {n: tuple(s) for n, s in state.shapes.items()}
        if shapes != found or state.base != model.base_fingerprint():
            raise ValueError(
                f"{self.path} is a checkpoint of another base, prompt length "
                "or optimizer. Choose another directory."
            )
        for name, variable in variables.items():
            variable.assign(stored[name].reshape(shapes[name]))
        model.best_prompts.clear()  # what is there is another run's
        model.best_prompts.update(best)
        self._epochs_done = state.epochs
        self._batches_before = state.batches_before
        return model.batches_done

    def save(self) -> None:
        """Replaces the file in one step; a kill leaves the old or the new.

        Of several workers, which have the same to save, the first does.

        Raises:
            OSError: it cannot be written; the old one is unharmed.
        """
        model = self.model
        cluster = getattr(model.distribute_strategy, "cluster_resolver", None)
        if cluster is not None and cluster.task_id:
            return
        arrays = {name: v.numpy() for name, v in _variables(model).items()}
        stored = {n: np.atleast_1d(array) for n, array in arrays.items()}
        best = model.best_prompts
        stored |= {f"{_BEST}{name}": b.prompt for name, b in best.items()}
        if self._base is None:
            self._base = model.base_fingerprint()
        state = _State(
            shapes={name: array.shape for name, array in arrays.items()},
            base=self._base,
            epochs=self._epochs_done,
            run=self._run or {},
            best={
                name: (b.score, b.step, b.evaluation)
                for name, b in best.items()
            },
            batches_before=self._batches_before,
        )
        metadata = {"state": json.dumps(dataclasses.asdict(state))}
        write_file(self.path, safetensors.numpy.save(stored, metadata))

    def save_now(self) -> None:
        """Saves between two steps, unless an epoch's end is under way.

        What is found out at an epoch's end belongs to its last step: saved
        before it, a resumed run would never find it out. Before `fit` has
        given the callback its model, there is nothing to save.
        """
        if self.model is None:
            return
        per_epoch = self._steps_per_epoch
        batches = self.model.batches_done - self._batches_before
        ends_epoch = per_epoch is not None and batches % per_epoch == 0
        if self._position is not None and not ends_epoch:
            self.save()

    def on_steps(self) -> None:
        self.save_now()

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._epochs_done = epoch + 1
        self.save()

    def _refuse_other_run(self, theirs: dict[str, Any]) -> None:
        """What makes a resumed run another one than was stopped."""
        for name, mine in (self._run or {}).items():
            if name in theirs and theirs[name] != mine:
                raise ValueError(
                    f"{self.path} is of a run with {name}={theirs[name]!r}; "
                    f"this one has {name}={mine!r}. Choose another directory, "
                    "or the same data and settings."
                )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[_State, Any]]:
    """A checkpoint to read arrays from; the error says if it is damaged."""
    with open_checkpoint(path) as (state, file):
        yield _State(**state), file


def _run_settings(
    model: PromptedT5,
    position: Position | None,
    callbacks: Sequence[keras.callbacks.Callback],
) -> dict[str, Any]:
    """What must be equal for a run to go on as if never stopped."""
    settings: dict[str, Any] = dict(model.optimizer.get_config())
    del settings["name"]  # Keras numbers optimizers of the same kind
    own = settings
    if "inner_optimizer" in settings:  # of a `LossScaleOptimizer`
        own = settings["inner_optimizer"]["config"]
        del own["name"]
    if model.compiled_rate is not None:
        own["learning_rate"] = model.compiled_rate
    settings["loss"] = keras.saving.serialize_keras_object(model.loss)
    settings["dtype"] = model.backbone.dtype_policy.name
    settings["dropout_rate"] = model.backbone.dropout_rate
    if position is not None:
        settings["batches_per_epoch"] = position.batches_per_epoch
        settings["data"] = position.fingerprint
    for callback in callbacks:
        if isinstance(callback, Evaluator):
            settings.setdefault("evaluation", {}).update(callback.evaluations)
    return json.loads(json.dumps(settings, default=str))


def _variables(model: PromptedT5) -> dict[str, keras.Variable]:
    """By name: what learns, the optimizer's, and the seeds of dropout."""
    variables = dict(model.tuned_weights)
    optimizer = model.optimizer
    inner = getattr(optimizer, "inner_optimizer", None)
    for variable in optimizer.variables:
        owner, name = variable.path.split("/", 1)
        if inner is not None and owner == inner.name:
            name = f"inner/{name}"  # of what a `LossScaleOptimizer` wraps
        variables[f"optimizer/{name}"] = variable
    for index, variable in enumerate(model.backbone.non_trainable_variables):
        if "seed" in variable.path:
            variables[f"seed/{index}"] = variable
    return variables
