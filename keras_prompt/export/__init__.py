"""Prompts on disk, and what serves them."""
