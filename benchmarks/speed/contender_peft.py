"""PEFT's prompt tuning of transformers' T5, by their usual good practice.

Batches are padded to their own longest row, nothing that needs no gradient
keeps one, and torch has as many threads as there are cores.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers
from speed_work import Work

_IGNORED = -100  # what transformers' loss leaves out


class Peft:
    """A `PeftModel` with one adapter, and seven more for mixed batches."""

    def __init__(self, work: Work) -> None:
        torch.set_num_threads(work.threads)
        self._work = work
        folder = Path(work.folder)
        # These two libraries are typed in part only.
        hub: Any = transformers
        base = hub.T5ForConditionalGeneration.from_pretrained(folder / "model")
        self._prompt = torch.tensor(np.load(folder / "prompt.npy"))
        config = peft.PromptTuningConfig(
            task_type="SEQ_2_SEQ_LM",
            num_virtual_tokens=len(self._prompt),
            num_transformer_submodules=1,
            prompt_tuning_init="RANDOM",
        )
        self._model: Any = peft.get_peft_model(base, config).eval()
        self._set_prompt("default", self._prompt)
        # Dropout is off everywhere, as it is here by default.
        trainable = [p for p in self._model.parameters() if p.requires_grad]
        self._optimizer = hub.Adafactor(
            trainable, lr=0.3, scale_parameter=False, relative_step=False
        )
        self._rows = work.read_rows()
        self._order = self._batches_forever()
        self._is_mixed = False

    def steps(self, ids: np.ndarray, targets: np.ndarray, count: int) -> float:
        """So many steps on one batch; the last one's loss."""
        batch = _tensors(ids.tolist(), targets.tolist())
        for _ in range(count):
            loss = self._step(batch)
        return loss

    def first_loss(self, ids: np.ndarray, targets: np.ndarray) -> float:
        """Before any step, as a check that all run the same model."""
        with torch.no_grad():
            batch = _tensors(ids.tolist(), targets.tolist())
            return float(self._model(**batch).loss)

    def epoch(self) -> int:
        """One over all rows; useful tokens, input and target."""
        tokens = 0
        count = -(-len(self._rows["inputs"]) // self._work.batch_size)
        for batch in itertools.islice(self._order, count):
            self._step(batch)
            tokens += int(batch["attention_mask"].sum())
            tokens += int((batch["labels"] != _IGNORED).sum())
        return tokens

    def score(self) -> Any:
        """Every label word of every row: a pass for each label."""
        return self._score(self._rows["inputs"][: self._work.rows])

    def generate(self) -> Any:
        """Greedy, with a cache."""
        written = []
        chosen = self._rows["inputs"][: self._work.rows]
        for inputs in _batches(chosen, self._work.batch_size):
            ids, mask = _padded(inputs)
            found = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=self._work.target_length,
                do_sample=False,
            )
            written += found[:, 1:].tolist()
        return written

    def mixed(self) -> Any:
        """Scores of rows whose tasks alternate among eight.

        PEFT mixes adapters of LoRA in a batch, not prompts: each task's rows
        are a batch of their own.
        """
        if not self._is_mixed:
            for number in range(8):
                config = self._model.peft_config["default"]
                self._model.add_adapter(f"task{number}", config)
                value = self._prompt * (1 + number / 8)
                self._set_prompt(f"task{number}", value)
            self._model.eval()
            self._is_mixed = True
        inputs = self._rows["inputs"][: self._work.rows]
        scores: list[Any] = [None] * len(inputs)
        for number in range(8):
            self._model.set_adapter(f"task{number}")
            scores[number::8] = self._score(inputs[number::8])
        self._model.set_adapter("default")
        return scores

    def _score(self, inputs: Sequence[Sequence[int]]) -> list[list[float]]:
        scores = []
        for rows in _batches(inputs, self._work.batch_size):
            columns = []
            for label in self._rows["labels"]:
                batch = _tensors(rows, [label] * len(rows))
                with torch.no_grad():
                    logits = self._model(**batch).logits
                chosen = logits.log_softmax(-1).gather(
                    -1, batch["labels"][..., None]
                )
                columns.append(chosen.sum((1, 2)))
            scores += torch.stack(columns, 1).tolist()
        return scores

    def _step(self, batch: dict[str, torch.Tensor]) -> float:
        self._optimizer.zero_grad()
        loss = self._model(**batch).loss
        loss.backward()
        self._optimizer.step()
        return float(loss)

    def _batches_forever(self) -> Iterator[dict[str, torch.Tensor]]:
        rows, random = self._rows, np.random.default_rng(0)
        while True:
            order = random.permutation(len(rows["inputs"])).tolist()
            for chosen in _batches(order, self._work.batch_size):
                yield _tensors(
                    [rows["inputs"][i] for i in chosen],
                    [rows["targets"][i] for i in chosen],
                )

    def _set_prompt(self, adapter: str, value: torch.Tensor) -> None:
        weight = self._model.prompt_encoder[adapter].embedding.weight
        with torch.no_grad():
            weight.copy_(value)


def _batches(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _padded(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, rows))
    ids = torch.tensor([[*row] + [0] * (width - len(row)) for row in rows])
    return ids, (ids != 0).long()


def _tensors(
    inputs: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> dict[str, torch.Tensor]:
    ids, mask = _padded(inputs)
    labels, _ = _padded(targets)
    labels = torch.where(labels == 0, _IGNORED, labels)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}
