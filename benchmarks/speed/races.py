"""Contenders in processes of their own, measured turn by turn."""

import importlib
import multiprocessing
import os
import resource
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
from speed_work import Work

# module, class
CONTENDERS = {
    "keras_prompt": ("contender_keras_prompt", "KerasPrompt"),
    "peft": ("contender_peft", "Peft"),
    "keras_hub": ("contender_keras_hub", "KerasHub"),
}


class Measured(NamedTuple):
    """What a call took and gave."""

    seconds: float
    result: Any


class Runner:
    """One contender in its process, idle unless it is its turn."""

    def __init__(self, name: str, work: Work) -> None:
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self.started = time.perf_counter()
        self._process = context.Process(
            target=_serve, args=(there, name, work), daemon=True
        )
        self._process.start()
        there.close()

    def call(self, method: str, *arguments: Any) -> Measured:
        """Runs a method and waits for it.

        Raises:
            RuntimeError: the contender's process failed.
        """
        self._here.send((method, arguments))
        try:
            answer = self._here.recv()
        except EOFError:
            raise RuntimeError(f"{method}: the process ended") from None
        if isinstance(answer, str):
            raise RuntimeError(answer)
        assert isinstance(answer, Measured)
        return answer

    def stop(self) -> None:
        """Ends the process."""
        self._here.close()
        self._process.join(10)
        self._process.kill()


def equal_batch(work: Work) -> tuple[np.ndarray, np.ndarray]:
    """Int32 (B, S) and (B, T), of the task's rows one after the other."""
    rows = work.read_rows()
    tokens = np.concatenate([row[:-1] for row in rows["inputs"]])
    size = work.batch_size * work.input_length
    ids = np.resize(tokens, size).reshape(work.batch_size, -1)
    size = work.batch_size * work.target_length
    targets = np.resize(tokens[::-1], size).reshape(work.batch_size, -1)
    return ids.astype(np.int32), targets.astype(np.int32)


def _serve(connection: Connection, name: str, work: Work) -> None:
    """Answers calls until there are no more; a failure's text is an answer."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["HF_HUB_OFFLINE"] = "1"
    # Start-up lines and progress bars are not the leader's to print.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        module, kind = CONTENDERS[name]
        contender = getattr(importlib.import_module(module), kind)(work)
        while True:
            method, arguments = connection.recv()
            connection.send(_measure(contender, method, arguments))
    except EOFError:
        return
    except Exception:
        connection.send(traceback.format_exc())


def _measure(contender: Any, method: str, arguments: Sequence[Any]) -> Measured:
    if method == "peak_bytes":
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return Measured(0.0, usage.ru_maxrss * 1024)  # it is in KiB
    start = time.perf_counter()
    result = getattr(contender, method)(*arguments)
    return Measured(time.perf_counter() - start, result)
