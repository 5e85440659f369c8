"""Pages on which people decide what clips are."""
