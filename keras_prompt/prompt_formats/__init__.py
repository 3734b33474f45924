"""Prompts as other tools leave and take them, one format a file.

This package lies above `models`, because a T5X checkpoint's prompt is read
with the means that read its weights.
"""
