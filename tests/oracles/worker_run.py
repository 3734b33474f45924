"""One of two workers that train together, for processes that are killed.

`python worker_run.py VOCABULARY FOLDER INDEX PORT PORT`; without ports it
trains alone. What it ends with goes to FOLDER/prompt-INDEX.npy, the rows that
its replicas saw of an epoch to FOLDER/rows-INDEX.npy.
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))


def main(vocabulary, folder, index, *ports):
    if ports:
        os.environ["TF_CONFIG"] = json.dumps(
            {
                "cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]},
                "task": {"type": "worker", "index": int(index)},
            }
        )
    import keras_prompt as kp

    strategy = kp.get_strategy()  # before anything is computed

    import numpy as np
    from oracles.mesh_run import build
    from oracles.replica_run import dataset, rows_of_an_epoch

    rows = rows_of_an_epoch(strategy)
    np.save(f"{folder}/rows-{index}.npy", np.concatenate(rows))

    with strategy.scope():
        model = build(vocabulary)
        data = dataset(model, 24, repeat=True)
        model.compile(optimizer=kp.Adafactor(0.3), loss=kp.TokenCrossentropy())
    model.fit(
        data,
        epochs=2,
        steps_per_epoch=20,
        callbacks=[kp.PromptCheckpoint(folder, every_steps=2)],
        verbose=0,
    )
    assert int(model.optimizer.iterations.numpy()) == 40
    np.save(f"{folder}/prompt-{index}.npy", model.prompt.embeddings.numpy())


if __name__ == "__main__":
    main(*sys.argv[1:])
