"""Multi-label libraries: a clip has none, one or several labels, and each label is a yes or no of its own.

For each label there is a library, NAME/LABEL, of two labels such as `dog` and `not dog`: whatever works by
library works by label. It shows the clips with the label and up to three times as many without it, of all
combinations of other labels. A version of the multi-label library finds them by their content, so a label
whose clips stay the same keeps its version and its answers.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from urllib.parse import quote

from sqlalchemy.orm import Session

from core.errors import PromptError
from core.prompts.demonstrations import label_set
from db.libraries import (
    LibraryDemonstration,
    LibraryNotFound,
    LibraryVersion,
    find_library,
    import_library,
    use_library,
    version_in_use,
)
from db.library_names import NO_LABEL_CHARACTERS
from flows.pipeline.libraries.rows import ManifestError

MULTI_LABEL = "labels"
"""The task of a multi-label library. That of the libraries of its labels is `label`."""
NOT = "not "
"""Before a label: the other label of its library."""
NONE_OF_THEM = "none of the labels"
"""What people read where a clip has no label."""
MOST_WITHOUT = 3
"""Clips without a label for each clip that has it: with many more, labelers seldom say yes to a rare one."""
MAX_NAME_BYTES = 240
"""Of NAME/LABEL, percent-encoded, as folders of the lake are named."""
MAX_LABELS = 100
"""Each is one more question about every clip."""


def labels_stored(labels: Iterable[str]) -> str:
    """Return the labels of a clip as a demonstration keeps them."""
    return json.dumps(sorted(labels), ensure_ascii=False)


def labels_of(row: LibraryDemonstration) -> list[str]:
    """Return the labels of a clip of a multi-label library, sorted."""
    labels: list[str] = json.loads(row.label_or_text)
    return labels


def all_labels(rows: Iterable[LibraryDemonstration]) -> list[str]:
    """Return the labels of a multi-label library, sorted."""
    return sorted({label for row in rows for label in labels_of(row)})


def check_label(label: str) -> str:
    """Return a label that may be part of a library's name. Raises ValueError for another one."""
    if re.search(f"[{NO_LABEL_CHARACTERS}]", label):
        raise ValueError("a label beside others has no @ and no line breaks, since it names a library")
    return label


def check_labels(name: str, rows: Sequence[LibraryDemonstration]) -> list[str]:
    """Return the labels of a library.

    Raises ManifestError for one that all clips have, and PromptError for one that no prompt can name.
    """
    labels = all_labels(rows)
    if not 0 < len(labels) <= MAX_LABELS:
        raise ManifestError(f"the clips have {len(labels)} labels, 1 to {MAX_LABELS} are needed")
    for label in labels:
        label_set([label, NOT + label])
        if (size := len(quote(f"{name}/{label}", safe=""))) > MAX_NAME_BYTES:
            raise ManifestError(
                f"{name}/{label} has {size} characters as the name of a folder, the limit is "
                f"{MAX_NAME_BYTES}: shorten the label"
            )
        if all(label in labels_of(row) for row in rows):
            raise ManifestError(f"every clip has the label {label!r}: add clips without it, or drop it")
    return labels


def refuse_multi_label(library: LibraryVersion) -> None:
    """Raise PromptError, with the name of one label's library, where one label a clip is needed."""
    if library.task == MULTI_LABEL:
        some = _name(library, all_labels(library.demonstrations)[0])
        raise PromptError(
            f"library {library.name} gives a clip several labels, and this is done for one of them: name it, "
            f"such as {some}"
        )


def multi_label_of(name: str) -> str | None:
    """Return the multi-label library that a library belongs to, None for one that is on its own."""
    whole, slash, _ = name.partition("/")
    return whole if slash else None


def import_by_label(session: Session, library: LibraryVersion) -> None:
    """Make the libraries of the labels of a version that lack one, and put them into use if it is in use."""
    is_in_use = version_in_use(session, library.name) == library.version
    for label in all_labels(library.demonstrations):
        rows = _rows(library, label)
        import_library(session, _name(library, label), "label", None, rows, promote=is_in_use)


def libraries_by_label(session: Session, library: LibraryVersion) -> dict[str, LibraryVersion]:
    """Return the library of each label of a version. Raises LibraryNotFound."""
    found = {}
    for label in all_labels(library.demonstrations):
        version = find_library(session, _name(library, label), "label", None, _rows(library, label))
        if version is None:
            raise LibraryNotFound(
                f"{library.name}@{library.version} has no library of its label {label!r}: import it again"
            )
        found[label] = version
    return found


def use_by_label(session: Session, library: LibraryVersion) -> None:
    """Put the libraries of the labels of a version into use."""
    for version in libraries_by_label(session, library).values():
        use_library(session, version.name, version.version)


def _name(library: LibraryVersion, label: str) -> str:
    return f"{library.name}/{label}"


def _rows(library: LibraryVersion, label: str) -> list[LibraryDemonstration]:
    labels = [labels_of(row) for row in library.demonstrations]
    return [
        replace(library.demonstrations[at], label=label if label in labels[at] else NOT + label)
        for at in shown_for(label, labels)
    ]


def shown_for(label: str, labels: Sequence[Collection[str]]) -> list[int]:
    """Return the numbers of the clips that show a label and its absence, given the labels of all clips.

    Of those without it, each combination of other labels gives its first clip, then its second ...
    """
    turns = Counter[tuple[str, ...]]()
    have, without = list[int](), list[tuple[int, int]]()
    for at, own in enumerate(labels):
        combination = tuple(sorted(own))
        if label in own:
            have.append(at)
        else:
            without.append((turns[combination], at))
        turns[combination] += 1
    return sorted([*have, *(at for _, at in sorted(without)[: MOST_WITHOUT * len(have)])])
