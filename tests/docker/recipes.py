"""The files that make the images, read as what they say."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"


@dataclass
class Stage:
    """One stage of a Dockerfile: its name, what it stands on, and its instructions in their order."""

    name: str
    base: str
    lines: list[tuple[str, str]] = field(default_factory=list)

    def of(self, instruction: str) -> list[str]:
        return [arguments for name, arguments in self.lines if name == instruction]


def stages() -> dict[str, Stage]:
    """The stages of the Dockerfile, by name."""
    text = re.sub(r"^\s*#.*\n", "", (DOCKER / "Dockerfile").read_text(), flags=re.MULTILINE)
    found: dict[str, Stage] = {}
    stage = Stage("", "")
    for line in filter(None, re.sub(r"\\\n", " ", text).splitlines()):
        instruction, _, arguments = line.partition(" ")
        if instruction == "FROM":
            base, _, name = arguments.partition(" AS ")
            stage = found.setdefault(name, Stage(name, base))
        else:
            stage.lines.append((instruction, arguments))
    return found


def lineage(name: str) -> list[Stage]:
    """A stage and those it stands on, down to the image that somebody else makes."""
    known, line = stages(), []
    while name in known:
        line.append(known[name])
        name = known[name].base
    return line


def compose() -> dict[str, Any]:
    """compose.yaml, its anchors resolved and its variables left as they are written."""
    loaded: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return loaded


def job_template() -> dict[str, Any]:
    """The base job template of the Kubernetes work pool."""
    loaded: dict[str, Any] = json.loads((DOCKER / "gpu-job-template.json").read_text())
    return loaded
