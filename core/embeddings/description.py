"""The description of an embedding model: `embedding.json` beside `model.onnx`, read without onnxruntime.

The fingerprint is over all that decides a number: the network's own sha256, how windows are cut and what is
made of their samples, and the names of the classes. Name, license and source may be corrected later.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from core.embeddings.front_end import FrontEnd, read_front_end
from core.errors import CheckpointMismatch

DESCRIPTION, NETWORK, CLASSES = "embedding.json", "model.onnx", "classes.txt"
FORMAT = 1
MAX_WINDOW_SECONDS = 60
MAX_CLASSES = 10_000

Kind = Literal["tagger", "embedding"]


@dataclass(frozen=True)
class EmbeddingDescription:
    """An embedding model without its network. `window` and `hop` are in samples.

    A tagger scores `classes` for each window; another kind has no classes and no `scores` output.
    """

    name: str
    kind: Kind
    sample_rate: int
    window: int
    hop: int
    front_end: FrontEnd
    input: str
    embedding: str
    scores: str | None
    classes: tuple[str, ...]
    dimensions: int
    license: str
    source: str
    sha256: str

    @cached_property
    def fingerprint(self) -> str:
        """Return the hex sha256 over what decides the embedding and the scores of a clip."""
        left_out = ("name", "license", "source")
        deciding = {key: value for key, value in self.as_json().items() if key not in left_out}
        text = json.dumps([deciding, self.classes], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """Return the content of `embedding.json`."""
        return {
            "format": FORMAT,
            "name": self.name,
            "kind": self.kind,
            "sample_rate": self.sample_rate,
            "window": self.window,
            "hop": self.hop,
            "front_end": self.front_end.as_json(),
            "input": self.input,
            "embedding": self.embedding,
            "scores": self.scores,
            "classes": CLASSES if self.classes else None,
            "dimensions": self.dimensions,
            "license": self.license,
            "source": self.source,
            "sha256": self.sha256,
        }


def read_description(directory: Path) -> EmbeddingDescription:
    """Read and check the description of a model directory; raises CheckpointMismatch."""
    for name in (DESCRIPTION, NETWORK):
        if not (directory / name).is_file():
            raise CheckpointMismatch(
                f"{directory} has no {name}: an embedding model is a directory with {DESCRIPTION} and "
                f"{NETWORK}, which wordwave models convert-embedding writes"
            )
    path = directory / DESCRIPTION
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return _described(fields, directory)
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointMismatch(
            f"{path} does not describe an embedding model ({_reason(error)}): convert the model again"
        ) from error


def write_description(directory: Path, description: EmbeddingDescription) -> None:
    """Write `embedding.json` and, for a tagger, its class names, one a line."""
    if description.classes:
        (directory / CLASSES).write_text("\n".join(description.classes) + "\n", encoding="utf-8")
    text = json.dumps(description.as_json(), indent=2, ensure_ascii=False)
    (directory / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def file_sha256(path: Path) -> str:
    """Return the hex sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _described(fields: Mapping[str, Any], directory: Path) -> EmbeddingDescription:
    if (found := fields["format"]) != FORMAT:
        raise ValueError(f"its format is {found!r}, this version reads format {FORMAT}")
    names = _class_names(directory / fields["classes"]) if fields["classes"] else ()
    own = {key: fields[key] for key in EmbeddingDescription.__dataclass_fields__}
    description = EmbeddingDescription(
        **own | {"classes": names, "front_end": read_front_end(fields["front_end"])}
    )
    _check_types(description)
    _check_window(description)
    _check_kind(description)
    return description


def _class_names(path: Path) -> tuple[str, ...]:
    if path.name != CLASSES or not path.is_file():
        raise ValueError(f"its class names must be in {CLASSES} beside it, and {path} is not there")
    names = tuple(path.read_text(encoding="utf-8").splitlines())
    if not all(name.strip() for name in names) or len(set(names)) != len(names):
        raise ValueError(f"{CLASSES} must hold one name a line, each once and none empty")
    if len(names) > MAX_CLASSES:
        raise ValueError(f"{CLASSES} has {len(names)} names, at most {MAX_CLASSES} are taken")
    return names


def _check_types(description: EmbeddingDescription) -> None:
    texts = ("name", "input", "embedding", "license", "source", "sha256")
    for field in texts:
        if not isinstance(value := getattr(description, field), str) or (not value and field != "source"):
            raise ValueError(f"{field} is {value!r}, a text is needed")
    for field in ("sample_rate", "window", "hop", "dimensions"):
        if type(value := getattr(description, field)) is not int or value < 1:
            raise ValueError(f"{field} is {value!r}, a whole number of at least 1 is needed")


def _check_window(description: EmbeddingDescription) -> None:
    window, hop, longest = description.window, description.hop, MAX_WINDOW_SECONDS * description.sample_rate
    if window > longest:
        raise ValueError(f"window is {window} samples, at most {longest} ({MAX_WINDOW_SECONDS} s) are taken")
    if hop > window:
        raise ValueError(f"hop is {hop} samples, more than the window of {window}: audio would be skipped")
    if (takes := description.front_end.window_samples) not in (None, window):
        raise ValueError(f"window is {window} samples, its front end takes {takes}")


def _check_kind(description: EmbeddingDescription) -> None:
    is_tagger = description.kind == "tagger"
    if description.kind not in ("tagger", "embedding"):
        raise ValueError(f"kind is {description.kind!r}: it is tagger or embedding")
    if is_tagger != bool(description.classes) or is_tagger != bool(description.scores):
        raise ValueError(f"kind is {description.kind}: a tagger has classes and scores, another kind neither")


def _reason(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)
