"""What a stage did to how many clips: numbers that add up over batches."""

from collections import Counter

Counts = Counter[str]
"""Name -> number of clips, such as `tokenized`, `labeled` or `quarantined:silent`."""
