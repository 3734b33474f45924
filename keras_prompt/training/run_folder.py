"""What a run's folder holds beside its settings, by name."""

CHECKPOINT = "checkpoint.safetensors"
HISTORY = "history.csv"
RESULT = "result.json"
PROMPT, MODEL = "prompt", "model"  # the best one, or what pretraining made
PROMPTS = "prompts"  # each task's best one, in a folder of its own
