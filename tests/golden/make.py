"""Writes the golden files from the live oracles: `make golden`."""

import datetime
import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))


def main() -> None:
    """Runs every oracle on every case."""
    import torch
    import transformers
    from oracles import transformers_t5
    from oracles.stack_cases import CASES

    for name, case in CASES.items():
        np.savez_compressed(
            HERE / "stack" / f"{name}.npz", **transformers_t5.run(case)
        )
    manifest = {
        "command": "make golden",
        "date": datetime.date.today().isoformat(),
        "stack": {
            "oracle": "transformers.T5ForConditionalGeneration",
            "transformers": transformers.__version__,
            "torch": torch.__version__,
        },
    }
    text = json.dumps(manifest, indent=2) + "\n"
    (HERE / "MANIFEST.json").write_text(text)


if __name__ == "__main__":
    main()
