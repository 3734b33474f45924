"""This package, as its README says to use it."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from speed_work import Work

from keras_prompt.layers.prompt_bank import PromptBank
from keras_prompt.losses import TokenCrossentropy
from keras_prompt.models.fixed_sums import fixed_order_of_sums
from keras_prompt.models.prompt_bank_t5 import PromptBankT5
from keras_prompt.models.prompt_tuned_t5 import PromptTunedT5
from keras_prompt.models.text_batches import TextBatch
from keras_prompt.optimizers import Adafactor
from keras_prompt.tasks.pipeline import make_dataset
from keras_prompt.tasks.sources import RowsSource
from keras_prompt.tasks.task import Task


class KerasPrompt:
    """A `PromptTunedT5`, and a `PromptBankT5` of eight on the same base."""

    def __init__(self, work: Work) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(work.threads)
        self._work = work
        folder = Path(work.folder)
        self._prompt = np.load(folder / "prompt.npy")
        model = PromptTunedT5.from_preset(folder / "model", len(self._prompt))
        model.prompt.embeddings.assign(self._prompt)
        model.compile(
            optimizer=Adafactor(0.3),
            loss=TokenCrossentropy(0.0),
            jit_compile=work.jit_compile,
        )
        self._model = model
        self._rows: dict[str, Any] = work.read_rows()
        examples = self._rows["examples"][: work.rows]
        self._texts = [row["inputs"] for row in examples]
        self._iterators: dict[str, Any] = {}
        self._bank: PromptBankT5 | None = None

    def steps(self, ids: np.ndarray, targets: np.ndarray, count: int) -> float:
        """So many steps on one batch; the last one's loss."""
        if "equal" not in self._iterators:
            mask = np.ones_like(ids, bool)
            x = {
                "encoder_token_ids": ids,
                "encoder_padding_mask": mask,
                "decoder_token_ids": np.pad(targets[:, :-1], [(0, 0), (1, 0)]),
            }
            weight = np.ones(targets.shape, np.float32)
            batch = tf.data.Dataset.from_tensors((x, targets, weight))
            self._iterators["equal"] = iter(batch.repeat())
        return self._train("equal", count)

    def first_loss(self, ids: np.ndarray, targets: np.ndarray) -> float:
        """Before any step, as a check that all run the same model."""
        return -float(self._scores_of(ids, targets).mean()) / targets.shape[1]

    def epoch(self) -> int:
        """One over all rows; useful tokens, input and target.

        As anyone trains here: `make_dataset` puts rows of similar length
        together.
        """
        work, examples = self._work, self._rows["examples"]
        if "epoch" not in self._iterators:
            rows = make_dataset(
                Task("rows", RowsSource({"train": examples}), closed=False),
                "train",
                self._model.tokenizer,
                input_length=work.input_length,
                target_length=64,
                batch_size=work.batch_size,
                repeat=True,
            )
            self._iterators["epoch"] = _Counting(rows)
        counting = self._iterators["epoch"]
        counting.tokens = 0
        self._train("epoch", -(-len(examples) // work.batch_size))
        return int(counting.tokens)

    def score(self) -> Any:
        """Every label word of every row."""
        return self._model.rank(
            self._texts,
            self._rows["label_words"],
            self._work.batch_size,
            self._work.input_length,
        ).tolist()

    def generate(self) -> Any:
        """Greedy, with a cache."""
        return self._model.generate(
            self._texts,
            self._work.target_length,
            self._work.batch_size,
            input_length=self._work.input_length,
        )

    def mixed(self) -> Any:
        """Scores of rows whose tasks alternate among eight."""
        if self._bank is None:
            names = [f"task{number}" for number in range(8)]
            bank = PromptBank(dict.fromkeys(names, len(self._prompt)))
            self._bank = PromptBankT5(
                self._model.backbone, self._model.tokenizer, bank
            )
            for number, name in enumerate(names):
                bank.prompts[name].assign(self._prompt * (1 + number / 8))
        names = [f"task{row % 8}" for row in range(len(self._texts))]
        words = dict.fromkeys(self._bank.bank.names, self._rows["label_words"])
        return self._bank.rank(
            self._texts,
            names,
            words,
            self._work.batch_size,
            self._work.input_length,
        ).tolist()

    def _train(self, iterator: str, count: int) -> float:
        model = self._model
        if model.train_function is None:
            model.optimizer.build(model.trainable_variables)
            model.make_train_function()
        with fixed_order_of_sums():  # as `fit` does
            for _ in range(count):
                logs = model.train_function(self._iterators[iterator])
        return float(logs["loss"])

    def _scores_of(self, ids: np.ndarray, targets: np.ndarray) -> Any:
        features = {
            "encoder_token_ids": ids,
            "encoder_padding_mask": np.ones_like(ids, bool),
        }
        batch = TextBatch(np.arange(len(ids), dtype=np.int32), features)
        return self._model.log_likelihoods([batch], targets[:, None])


class _Counting:
    """An iterator that counts the tokens that are no padding."""

    def __init__(self, batches: tf.data.Dataset) -> None:
        self._batches = iter(batches)
        self.tokens = 0

    def __iter__(self) -> "_Counting":
        return self

    def __next__(self) -> Any:
        x, y, weight = next(self._batches)
        self.tokens += int(np.sum(x["encoder_padding_mask"]) + np.sum(weight))
        return x, y, weight
