"""Training: where models and tasks meet."""
