"""The sound of clips: copies by the allow-list, playing by ranges, and pictures of it."""
