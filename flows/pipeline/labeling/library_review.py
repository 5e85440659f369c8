"""What a library version would change: beside the one in use, in the prompt of the LLM, by its canaries."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

from core.errors import CoreError
from db.engine import session_scope
from db.libraries import (
    LibraryDemonstration,
    LibraryNotFound,
    LibraryVersion,
    get_library,
    previous_version_in_use,
    use_library,
    version_in_use,
)
from db.library_names import split_library_name
from db.nights import latest_parameters
from db.promotions import promoted_version
from flows.pipeline.labeling.canary import Canaries, CanaryRequest
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.labeling.setup import TASK, LabelingSetup
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runtime.resources import Runtime

MAX_NAMED = 10
"""Labels and clips that a sentence names."""


@dataclass(frozen=True)
class LibraryReview:
    """A version, how many clips show each answer, and in sentences whether to put it into use."""

    version: LibraryVersion
    labels: Counter[str]
    use: str
    difference: Sequence[str]
    fit: str

    @property
    def sentences(self) -> list[str]:
        """What there is to know before a night runs with it."""
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
        raise ValueError(f"{library} is in use as it is: name the version to put into use, {name}@VERSION")
    with session_scope(runtime.engine) as session:
        return use_library(session, name, version)


def review(runtime: Runtime, version: LibraryVersion) -> LibraryReview:
    """Return how a version differs from the one in use, or the one before it, and whether its prompt fits."""
    with session_scope(runtime.engine) as session:
        used, other = version_in_use(session, version.name), previous_version_in_use(session, version)
        promoted = promoted_version(session, version.task, version.name)
    return LibraryReview(
        version,
        Counter(row.label or "clean clip" for row in version.demonstrations),
        _use(version, used, promoted),
        difference_lines(other, version) if other else [],
        _fit(runtime, version),
    )


def _use(version: LibraryVersion, used: int | None, promoted: int | None) -> str:
    name = name_of(version)
    if used == version.version:
        others = f"; where {version.name}@{promoted} has answered too, its answers stay the current ones"
        stay = others if promoted and promoted != used else ""
        return f"{name} is in use: {version.name} without a version means it{stay}"
    return f"{version.name}@{used} stays in use: wordwave library use {name} puts this version into use"


def difference_lines(old: LibraryVersion, new: LibraryVersion) -> list[str]:
    """Return what is shown by one version and not by the other, in sentences."""
    before, after = _shown(old), _shown(new)
    added = [row for key, row in after.items() if key not in before]
    removed = [row for key, row in before.items() if key not in after]
    relabeled = {row.content_sha256 for row in added} & {row.content_sha256 for row in removed}
    lines = [
        f"compared with {name_of(old)}: {len(added) - len(relabeled)} clips added, "
        f"{len(removed) - len(relabeled)} removed, {len(relabeled)} with another answer, "
        f"{len(before.keys() & after.keys())} the same"
    ]
    lines += _named("added", _without(added, relabeled)) + _named("removed", _without(removed, relabeled))
    lines += _relabeled(removed, added, relabeled) + _label_lines(old, new)
    kept = [key for key in after if key in before]
    if kept != [key for key in before if key in after]:
        lines.append("the clips that both have come in another order")
    if old.task != new.task or old.instruction != new.instruction:
        lines.append("the task or the instruction is another one")
    return lines


def _shown(version: LibraryVersion) -> dict[tuple[bytes, str], LibraryDemonstration]:
    return {(row.content_sha256, row.answer): row for row in version.demonstrations}


def _without(rows: Iterable[LibraryDemonstration], contents: set[bytes]) -> list[LibraryDemonstration]:
    return [row for row in rows if row.content_sha256 not in contents]


def _named(what: str, rows: Sequence[LibraryDemonstration]) -> list[str]:
    clips = [f"{row.label} ({row.uri})" if row.label else row.uri for row in rows]
    return [f"{what}: {_list(clips)}"] if clips else []


def _relabeled(
    removed: Iterable[LibraryDemonstration], added: Iterable[LibraryDemonstration], relabeled: set[bytes]
) -> list[str]:
    before = {row.content_sha256: row.label or row.target_uri for row in removed}
    changes = [
        f"{before[row.content_sha256]} to {row.label or row.target_uri} ({row.uri})"
        for row in added
        if row.content_sha256 in relabeled
    ]
    return [f"another answer: {_list(changes)}"] if changes else []


def _label_lines(old: LibraryVersion, new: LibraryVersion) -> list[str]:
    """Labels that only one version knows: a night with the other one never says them."""
    if new.task != TASK or old.task != TASK:
        return []
    before, after = ({row.label_or_text for row in version.demonstrations} for version in (old, new))
    lines = [f"new labels: {_list(sorted(after - before))}"] if after - before else []
    return lines + ([f"labels no longer known: {_list(sorted(before - after))}"] if before - after else [])


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def _fit(runtime: Runtime, version: LibraryVersion) -> str:
    if version.task != TASK:
        return "whether its prompt fits depends on the seconds that are asked for: a run says so first"
    setup = LabelingSetup(runtime, _nightly_request(runtime, version)[0])
    if not setup.is_prepared():
        return "whether its prompt fits is not known: its clips have no tokens of this codec yet"
    try:
        size, _ = setup.prompt_size, setup.prompt_hash
    except CoreError as error:
        return f"it does not fit: {error}"
    if size is None:
        return "it fits: no LLM is set, the nearest demonstration answers"
    return f"it fits: prompts take at most {size.longest} of the {size.context} token ids that the LLM holds"


def canary_line(runtime: Runtime, version: LibraryVersion) -> str | None:
    """Ask the canaries of the last night with this library; None where no night had any."""
    if version.task != TASK:
        return None
    request, canaries = _nightly_request(runtime, version)
    if canaries is None:
        return None
    try:
        return _ask(Canaries(LabelingSetup(runtime, request), canaries))
    except (CoreError, LibraryNotFound) as error:
        return f"canaries cannot be asked: {error}"


def _ask(canaries: Canaries) -> str:
    if not canaries.is_prepared():
        return f"canaries of {canaries.name} have no tokens of this codec yet: the next night asks them"
    counts = sum((canaries.ask_batch(batch) for batch in canaries.batches()), Counts())
    share = counts["right"] / counts["asked"]
    return (
        f"{counts['right']} of {counts['asked']} canaries of {canaries.name} are answered right "
        f"({share:.0%}), at least {canaries.least_accuracy:.0%} are asked for"
    )


def _nightly_request(runtime: Runtime, version: LibraryVersion) -> tuple[LabelRequest, CanaryRequest | None]:
    """How the last night asked with this library, as if it had been this version."""
    with session_scope(runtime.engine) as session:
        asked = latest_parameters(session, "nightly-labeling", version.name) or {}
    known = {field.name for field in fields(LabelRequest)} & asked.keys()
    request = LabelRequest(**{name: asked[name] for name in known} | {"library": name_of(version)})
    if not asked.get("canary_library"):
        return request, None
    return request, CanaryRequest(asked["canary_library"], asked["least_canary_accuracy"])
