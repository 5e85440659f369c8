"""Teachers of a codec from files that the user has: Whisper, a sentence encoder, a tagger."""
