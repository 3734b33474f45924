"""Makes a T5 from plain text: pre-training, then LM adaptation."""
