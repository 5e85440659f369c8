"""The small models that ship with the project, so that everything runs without a download."""

from difflib import get_close_matches
from pathlib import Path

_ROOT = Path(__file__).parent


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets in alphabetical order."""
    return tuple(sorted(config.parent.name for config in _ROOT.glob("*/config.json")))


def preset_directory(name: str) -> Path:
    """Return the directory of a preset. Raises ValueError, with the nearest name, for an unknown one."""
    names = preset_names()
    if name in names:
        return _ROOT / name
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "give one of these or the path of a directory."
    raise ValueError(f"unknown preset {name!r}: there are {', '.join(names)}; {hint}")
