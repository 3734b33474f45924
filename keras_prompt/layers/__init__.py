"""Keras layers of prompt tuning."""
