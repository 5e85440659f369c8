"""New versions of libraries without the demonstrations that are forgotten, in place of those in use."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from core.errors import PromptError
from core.prompts.demonstrations import label_set
from db.forgetting import UsedVersion
from db.libraries import LibraryDemonstration, get_library, import_library
from db.promotions import ModelSet, promote, promoted_model_set
from flows.pipeline.libraries.by_label import MULTI_LABEL, check_labels, import_by_label
from flows.pipeline.libraries.rows import ManifestError


class InUse(ValueError):
    """What is to be forgotten is in use."""


@dataclass(frozen=True)
class Replacement:
    """A library version and the one that takes its place, as NAME@VERSION."""

    old: str
    new: str


def check_replaceable(session: Session, used: Iterable[UsedVersion], contents: Collection[bytes]) -> None:
    """Raise InUse for a version that is no library any more without the contents."""
    for version in used:
        left = _without(session, version, contents)
        if not left or not _is_library(version, left):
            raise InUse(
                f"{version.name}@{version.version} is no library without what is to be forgotten: it needs "
                "demonstrations, of several labels if it labels; put another version into use first"
            )


def _is_library(version: UsedVersion, rows: Sequence[LibraryDemonstration]) -> bool:
    try:
        if version.task == MULTI_LABEL:
            check_labels(version.name, rows)
        elif version.task == "label":
            label_set(sorted({row.label_or_text for row in rows}))
    except (PromptError, ManifestError):
        return False
    return True


def _without(session: Session, used: UsedVersion, contents: Collection[bytes]) -> list[LibraryDemonstration]:
    rows = get_library(session, used.name, used.version).demonstrations
    return [
        row
        for row in rows
        if row.content_sha256 not in contents and row.target_content_sha256 not in contents
    ]


def replace_versions(
    session: Session, used: Sequence[UsedVersion], contents: Collection[bytes]
) -> list[Replacement]:
    """Make a version without the contents of each version in use or promoted, and put it in its place."""
    return [_replace(session, version, contents) for version in used]


def _replace(session: Session, used: UsedVersion, contents: Collection[bytes]) -> Replacement:
    old = get_library(session, used.name, used.version)
    rows = _without(session, used, contents)
    new = import_library(session, old.name, old.task, old.instruction, rows, promote=used.is_in_use)
    if new.task == MULTI_LABEL:  # whose labels take other clips in place of the forgotten ones
        import_by_label(session, new)
    promoted = promoted_model_set(session, old.task, old.name)
    if promoted and promoted.demonstration_set_id == old.id:
        promote(session, old.task, ModelSet(new.id, promoted.codec_id, promoted.llm_id))
    return Replacement(f"{old.name}@{old.version}", f"{new.name}@{new.version}")
