"""Reviews of library versions: the difference from the one in use, the prompt's size and the canaries."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

from core.errors import CoreError
from core.in_context.choosing.labelers import FEW_SHOT
from db.engine import session_scope
from db.libraries import (
    LibraryDemonstration,
    LibraryNotFound,
    LibraryVersion,
    VersionSummary,
    get_library,
    previous_version_in_use,
    use_library,
    version_in_use,
)
from db.library_names import split_library_name
from db.promotions import promoted_version
from db.run_history import latest_parameters
from flows.pipeline.labeling.canary import Canaries, CanaryRequest
from flows.pipeline.labeling.labelers.answering import NEAREST_NEIGHBOR
from flows.pipeline.labeling.labelers.choosing import answering_sentence, stored_choice, table_lines
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.labeling.setup import TASK, LabelingSetup
from flows.pipeline.libraries.by_label import (
    MULTI_LABEL,
    NONE_OF_THEM,
    all_labels,
    labels_of,
    libraries_by_label,
    use_by_label,
)
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runtime.resources import Runtime

MAX_ITEMS_IN_SENTENCE = 10


@dataclass(frozen=True)
class LibraryReview:
    """A version, the number of clips of each label, and sentences that help decide whether to use it.

    `labelers` says which labeler answers, with the table that it was chosen from.
    """

    version: LibraryVersion
    labels: Counter[str]
    use: str
    difference: Sequence[str]
    fit: str
    labelers: Sequence[str] = ()

    @property
    def sentences(self) -> list[str]:
        """All sentences, to read before a night runs with the version."""
        return [self.use, *self.difference, self.fit]


def name_of(version: LibraryVersion) -> str:
    """Return NAME@VERSION."""
    return f"{version.name}@{version.version}"


def named_library(runtime: Runtime, library: str) -> LibraryVersion:
    """Return the version that NAME or NAME@VERSION means."""
    with session_scope(runtime.engine) as session:
        return get_library(session, *split_library_name(library))


def put_into_use(runtime: Runtime, library: str) -> LibraryVersion:
    """Let the bare name of NAME@VERSION mean this version. Raises ValueError for a name without a version."""
    name, version = split_library_name(library)
    if version is None:
        raise ValueError(f"{library} has no version: name the version to put into use, {name}@VERSION")
    with session_scope(runtime.engine) as session:
        used = use_library(session, name, version)
        if used.task == MULTI_LABEL:
            use_by_label(session, used)
    return used


def review(runtime: Runtime, version: LibraryVersion) -> LibraryReview:
    """Compare a version with the one in use, or the one before it, and check whether its prompt fits."""
    with session_scope(runtime.engine) as session:
        used, other = version_in_use(session, version.name), previous_version_in_use(session, version)
        promoted = promoted_version(session, version.task, version.name)
    return LibraryReview(
        version,
        Counter(answer for row in version.demonstrations for answer in _answers(version, row)),
        _use(version, used, promoted),
        difference_lines(other, version) if other else [],
        _fit(runtime, version),
        _labelers(runtime, version),
    )


def _answers(version: LibraryVersion, row: LibraryDemonstration) -> list[str]:
    """Return what a demonstration is counted as: its label, or each of its labels."""
    if version.task == MULTI_LABEL:
        return labels_of(row) or [NONE_OF_THEM]
    return [row.label or "clean clip"]


def _labelers(runtime: Runtime, version: LibraryVersion) -> list[str]:
    if version.task != TASK:
        return []
    setup = LabelingSetup(runtime, nightly_request(runtime, version)[0])
    choice = stored_choice(runtime, name_of(version))
    table = ["", *table_lines(choice)] if choice and choice.measured else []
    return [answering_sentence(setup), *table]


def _use(version: LibraryVersion, used: int | None, promoted: int | None) -> str:
    name = name_of(version)
    if used == version.version:
        others = f"; where {version.name}@{promoted} has answered too, its answers stay the current ones"
        stay = others if promoted and promoted != used else ""
        return f"{name} is in use: {version.name} without a version means it{stay}"
    return f"{version.name}@{used} stays in use: wordwave library use {name} puts this version into use"


def difference_lines(old: LibraryVersion, new: LibraryVersion) -> list[str]:
    """Return the differences between two versions, in sentences."""
    before, after = _by_content_and_answer(old), _by_content_and_answer(new)
    added = [row for key, row in after.items() if key not in before]
    removed = [row for key, row in before.items() if key not in after]
    relabeled = {row.content_sha256 for row in added} & {row.content_sha256 for row in removed}
    lines = [
        f"compared with {name_of(old)}: {len(added) - len(relabeled)} clips added, "
        f"{len(removed) - len(relabeled)} removed, {len(relabeled)} with another answer, "
        f"{len(before.keys() & after.keys())} the same"
    ]
    lines += _clip_lines("added", _without(added, relabeled))
    lines += _clip_lines("removed", _without(removed, relabeled))
    lines += _relabeled_lines(removed, added, relabeled) + _label_lines(old, new)
    kept = [key for key in after if key in before]
    if kept != [key for key in before if key in after]:
        lines.append("the common clips are in another order")
    if old.task != new.task or old.instruction != new.instruction:
        lines.append("the task or the instruction changed")
    return lines


def _by_content_and_answer(version: LibraryVersion) -> dict[tuple[bytes, str], LibraryDemonstration]:
    return {(row.content_sha256, row.answer): row for row in version.demonstrations}


def _without(rows: Iterable[LibraryDemonstration], contents: set[bytes]) -> list[LibraryDemonstration]:
    return [row for row in rows if row.content_sha256 not in contents]


def _clip_lines(heading: str, rows: Sequence[LibraryDemonstration]) -> list[str]:
    clips = [f"{row.label} ({row.uri})" if row.label else row.uri for row in rows]
    return [f"{heading}: {_join(clips)}"] if clips else []


def _relabeled_lines(
    removed: Iterable[LibraryDemonstration], added: Iterable[LibraryDemonstration], relabeled: set[bytes]
) -> list[str]:
    before = {row.content_sha256: row.label or row.target_uri for row in removed}
    changes = [
        f"{before[row.content_sha256]} to {row.label or row.target_uri} ({row.uri})"
        for row in added
        if row.content_sha256 in relabeled
    ]
    return [f"another answer: {_join(changes)}"] if changes else []


def _label_lines(old: LibraryVersion, new: LibraryVersion) -> list[str]:
    """Return the labels that only one version has. A night with the other version never answers them."""
    if new.task != old.task or new.task not in (TASK, MULTI_LABEL):
        return []
    before, after = map(_known_labels, (old, new))
    lines = [f"new labels: {_join(sorted(after - before))}"] if after - before else []
    return lines + ([f"labels no longer known: {_join(sorted(before - after))}"] if before - after else [])


def _known_labels(version: LibraryVersion) -> set[str]:
    if version.task == MULTI_LABEL:
        return set(all_labels(version.demonstrations))
    return {row.label_or_text for row in version.demonstrations}


def _join(items: Sequence[str]) -> str:
    hidden = len(items) - MAX_ITEMS_IN_SENTENCE
    return ", ".join(items[:MAX_ITEMS_IN_SENTENCE]) + (f" and {hidden} more" if hidden > 0 else "")


def _fit(runtime: Runtime, version: LibraryVersion) -> str:
    if version.task == MULTI_LABEL:
        return _fit_by_label(runtime, version)
    if version.task != TASK:
        return "whether its prompt fits depends on the requested seconds: a run checks that first"
    request = nightly_request(runtime, version)[0]
    setup = LabelingSetup(runtime, request)
    if not setup.answering.is_known:  # the LLM is compared if its prompt fits
        plain = FEW_SHOT if runtime.llm else NEAREST_NEIGHBOR
        setup = LabelingSetup(runtime, replace(request, labeler=plain))
    if not setup.is_prepared():
        return "whether its prompt fits is not known: its clips have no tokens of this codec yet"
    try:
        size, _ = setup.prompt.size, setup.prompt.hash
    except CoreError as error:
        return f"it does not fit: {error}"
    if size is None and setup.answering.method == NEAREST_NEIGHBOR:
        return "it fits: no LLM is set, the nearest demonstration answers"
    if size is None:
        return f"it fits: {setup.answering.method} answers, which shows no prompt"
    return f"it fits: prompts take at most {size.longest} of the LLM's {size.context} token ids"


def _fit_by_label(runtime: Runtime, version: LibraryVersion) -> str:
    """Return the libraries of the labels, and whether the first one fits: all of them show the same clips."""
    with session_scope(runtime.engine) as session:
        found = list(libraries_by_label(session, version).values())
    names = _join([name_of(one) for one in found])
    return f"each label has a library of its own: {names}; of the first one, {_fit(runtime, found[0])}"


def canary_line(runtime: Runtime, version: LibraryVersion) -> str | None:
    """Label the canaries of the last night with this library and return the result, None without any."""
    if version.task != TASK:
        return None
    request, canaries = nightly_request(runtime, version)
    if canaries is None:
        return None
    try:
        return _ask(Canaries(LabelingSetup(runtime, request), canaries))
    except (CoreError, LibraryNotFound) as error:
        return f"canaries cannot be labeled: {error}"


def _ask(canaries: Canaries) -> str:
    if not canaries.is_prepared():
        return f"canaries of {canaries.name} have no tokens of this codec yet: the next night labels them"
    counts = sum((canaries.ask_batch(batch) for batch in canaries.batches()), Counts())
    share = counts["right"] / counts["asked"]
    return (
        f"{counts['right']} of {counts['asked']} canaries of {canaries.name} are answered right "
        f"({share:.0%}), at least {canaries.least_accuracy:.0%} are required"
    )


def nightly_request(runtime: Runtime, version: LibraryVersion) -> tuple[LabelRequest, CanaryRequest | None]:
    """Return the requests of the last night with this library, for this version."""
    with session_scope(runtime.engine) as session:
        parameters = latest_parameters(session, "nightly-labeling", version.name) or {}
    known = {field.name for field in fields(LabelRequest)} & parameters.keys()
    request = LabelRequest(**{name: parameters[name] for name in known} | {"library": name_of(version)})
    if not parameters.get("canary_library"):
        return request, None
    return request, CanaryRequest(parameters["canary_library"], parameters["least_canary_accuracy"])


def library_lines(versions: Iterable[VersionSummary]) -> Iterator[str]:
    """Yield a table of the library versions. A bare name means the version in use."""
    yield f"{'library':<32}{'':<8}{'task':<10}{'clips':>6}  made"
    for one in versions:
        used = "in use" if one.is_in_use else ""
        name = f"{one.name}@{one.version}"
        yield f"{name:<32}{used:<8}{one.task:<10}{one.demonstrations:>6}  {one.created_at:%Y-%m-%d %H:%M}"


def review_lines(reviewed: LibraryReview) -> Iterator[str]:
    """Yield the sentences of a review, then the labels and clips of the version in prompt order."""
    yield from reviewed.sentences
    if reviewed.labelers:
        yield from ("", *reviewed.labelers)
    yield ""
    for label, clips in reviewed.labels.most_common():
        yield f"{clips:>6}  {label}"
    yield ""
    for row in reviewed.version.demonstrations:
        yield f"{row.label or row.target_uri:<16} {row.uri}"
