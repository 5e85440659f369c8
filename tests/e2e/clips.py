"""Real clips for a night, from the folder that WORDWAVE_TEST_DATA names."""

import random
from pathlib import Path

SHOTS = 2
"""Demonstrations of each kind of sound."""
MANIFEST = "manifest.jsonl"


def real_clips(test_data: Path, digits: int, sounds: int, odd: int) -> dict[str, bytes]:
    """So many of each kind, always the same ones, by name."""
    folders = {"digits/dev": digits, "sound_events/dev": sounds, "edge/dev": odd}
    chosen: list[Path] = []
    for folder, count in folders.items():
        files = (path for path in (test_data / folder).rglob("*") if path.is_file() and path.name != MANIFEST)
        chosen += random.Random(0).sample(sorted(files), count)
    return {str(path.relative_to(test_data)): path.read_bytes() for path in chosen}


def demonstrations(test_data: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """A few sounds of each kind, and their labels, by name."""
    clips, labels = {}, {}
    for folder in sorted((test_data / "sound_events/dev").iterdir()):
        for path in sorted(folder.glob("*.ogg"))[:SHOTS]:
            clips[path.name], labels[path.name] = path.read_bytes(), folder.name.replace("_", " ")
    return clips, labels
