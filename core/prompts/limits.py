"""Limits of the texts in prompts, which forms and manifests check before a prompt is made."""

MAX_TEXT_CHARACTERS = 200
"""Of a text to answer with audio, and of a label."""
MAX_INSTRUCTION_CHARACTERS = 500
