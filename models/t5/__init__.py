"""T5 itself: its sizes, its weights by name, its blocks."""
