"""The `keras-prompt` command."""
