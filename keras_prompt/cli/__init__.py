"""The `keras-prompt` command: one module a verb."""
