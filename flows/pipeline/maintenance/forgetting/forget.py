"""Forgetting of clips and contents: everything that was stored of them goes, and tombstones keep them away.

Tombstones come first, so that nothing comes back meanwhile; then objects and Prefect's pages; the rows go
last and at once, in one transaction. Until then a run that was killed finds all names again. The objects that
clips are read from are never touched.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.engine import session_scope
from db.forgetting import (
    Extent,
    UsedVersion,
    find_extent,
    hide_names_in_runs,
    known_uris,
    used_versions,
)
from db.locks import held_keys
from db.runs import running_partitions
from db.tombstones import Grave, bury, delete_forgotten
from flows.pipeline.clips.tombstones import Tombstones, version_name
from flows.pipeline.maintenance.forgetting.libraries import (
    InUse,
    Replacement,
    check_replaceable,
    replace_versions,
)
from flows.pipeline.maintenance.forgetting.names import Names
from flows.pipeline.maintenance.forgetting.objects import forget_lake_again, forget_objects
from flows.pipeline.nights.jobs import run_once
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.run import OpenRun, recorded_run, run_session
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import StorageRefused
from flows.pipeline.storage.uris import canonical, file_uri, is_s3

KIND = "forget-clips"
PARTITION = "all clips"
SHA256 = re.compile(r"[0-9a-fA-F]{64}")
HideInPrefect = Callable[[Names, bool], Counts]
"""Takes names out of what Prefect keeps, or only counts if told so."""


class NothingToForget(ValueError):
    """No clip, no content and no tombstone has one of the given names."""


@dataclass(frozen=True)
class ForgetRequest:
    """What somebody asks to forget: contents, uris of clips, and uris that were forgotten before."""

    contents: frozenset[bytes]
    uris: frozenset[str]
    forgotten_uris: frozenset[str] = frozenset()

    def names(self, extent: Extent) -> Names:
        """Return all names of what goes, and of what went before."""
        audio = {one.sha256 for one in extent.audio}
        return Names(frozenset(extent.contents | audio), frozenset(extent.uris | self.forgotten_uris))


@dataclass(frozen=True)
class Forgetting:
    """What was forgotten, or would be: rows by table, changed objects and pages, and replaced libraries."""

    names: Names
    rows: Mapping[str, int]
    objects: Mapping[str, int] = field(default_factory=dict)
    replacements: Sequence[Replacement] = ()
    used: Sequence[UsedVersion] = ()

    @property
    def counts(self) -> Mapping[str, int]:
        """Rows, objects and pages together, those that there were."""
        return {what: number for what, number in {**self.rows, **self.objects}.items() if number}


class _OnlyShown(Exception):
    """Ends the transaction of a dry run without keeping it."""


def request_of(runtime: Runtime, given: Iterable[str]) -> ForgetRequest:
    """Return what is named by SHA-256 digests in hex and by uris, or paths, of clips.

    Raises NothingToForget for uris that no listing ever had; a digest is forgotten for all times to come.
    """
    contents, by_name = _meanings(given)
    spelled = {uri for uris in by_name.values() for uri in uris}
    with session_scope(runtime.engine) as session:
        stored = known_uris(session, spelled)
        forgotten = Tombstones(runtime.settings).uris(session, spelled)
    known = stored | forgotten
    if unknown := [name for name, uris in by_name.items() if not known.intersection(uris)]:
        raise NothingToForget(
            f"no listing had {', '.join(map(repr, unknown[:3]))}{', ...' if unknown[3:] else ''}: give uris "
            "as analytics.clips has them, or SHA-256 digests. Nothing was forgotten"
        )
    first = {next(uri for uri in uris if uri in known) for uris in by_name.values()}
    return ForgetRequest(contents, frozenset(first & stored), frozenset(first - stored))


def _meanings(given: Iterable[str]) -> tuple[frozenset[bytes], dict[str, list[str]]]:
    """Return the digests among names, and by each other name the uris that it may mean.

    Raises NothingToForget for what can be neither, such as a part of a digest.
    """
    others = {one: one.strip() for one in given}
    contents = frozenset(bytes.fromhex(one) for one in others.values() if SHA256.fullmatch(one))
    others = {name: one for name, one in others.items() if not SHA256.fullmatch(one)}
    for name, stripped in others.items():
        if "/" not in stripped:
            raise NothingToForget(
                f"{name!r} is neither a SHA-256 digest, which has 64 hex digits, nor an address: give the "
                "whole digest, a uri as analytics.clips has it, or ./NAME for a file of this folder"
            )
    # the name of an object may end in a space
    return contents, {
        name: list(dict.fromkeys([*_spellings(name), *_spellings(stripped)]))
        for name, stripped in others.items()
    }


def _spellings(name: str) -> list[str]:
    """Return the uris that a name may mean, the likeliest first."""
    found = [name] if "://" in name else []
    if not is_s3(name) and "://" not in name and "\0" not in name:
        found.append(file_uri(os.path.abspath(os.path.expanduser(name))))
    with suppress(StorageRefused):
        found.append(canonical(name))
    return found


def forget(
    runtime: Runtime,
    wanted: ForgetRequest,
    *,
    in_use: bool = False,
    dry_run: bool = False,
    hide_in_prefect: HideInPrefect = lambda names, dry_run: Counts(),
    flow_run_id: str | None = None,
) -> Forgetting:
    """Forget what is wanted, as one run that names nothing; safe to repeat after a kill.

    Raises InUse, before anything is written, for demonstrations of a library version in use or promoted and
    while other runs go on, unless `in_use` says to go on: then libraries get a version without them. With
    `dry_run` nothing is kept.
    """
    with session_scope(runtime.engine) as session:
        extent = find_extent(session, wanted.contents, wanted.uris)
        used = used_versions(session, extent.library_versions)
        check_replaceable(session, used, extent.contents)
    names = wanted.names(extent)
    if dry_run:
        return _shown(runtime, extent, names, used, hide_in_prefect)
    if not in_use:
        _refuse_use(runtime, used)
    recorded = recorded_run(runtime, KIND, PARTITION, {}, flow_run_id=flow_run_id)
    with recorded as run:
        tombstones = Tombstones(runtime.settings)
        graves = _bury(runtime, tombstones, extent, run)
        changed = Counts()

        def keep(step: Callable[[], Counts]) -> Counts:
            counts = step()
            changed.update(counts)
            return counts

        run_once(run, "objects", partial(keep, partial(forget_objects, runtime, extent, names)))
        run_once(run, "prefect", partial(keep, partial(hide_in_prefect, names, False)))
        with run_session(runtime, run.claim) as session:
            rows, replacements = _delete(tombstones, session, extent, names, graves)
        run_once(run, "lake", partial(keep, partial(forget_lake_again, runtime, extent, names)))
        run.count("forget", Counts({table: number for table, number in rows.items() if number}))
    return Forgetting(names, rows, changed, replacements, used)


def _shown(
    runtime: Runtime,
    extent: Extent,
    names: Names,
    used: Sequence[UsedVersion],
    hide_in_prefect: HideInPrefect,
) -> Forgetting:
    """Return what would go: the rows are deleted in a transaction that is rolled back."""
    objects = forget_objects(runtime, extent, names, dry_run=True) + hide_in_prefect(names, True)
    tombstones = Tombstones.for_trial(runtime.settings)
    rows: Mapping[str, int] = {}
    replacements: Sequence[Replacement] = ()
    try:
        with session_scope(runtime.engine) as session:
            graves = _graves(tombstones, session, extent)
            bury(session, graves.values())
            rows, replacements = _delete(tombstones, session, extent, names, graves)
            raise _OnlyShown
    except _OnlyShown:
        return Forgetting(names, rows, objects, replacements, used)


def _refuse_use(runtime: Runtime, used: Sequence[UsedVersion]) -> None:
    if used:
        raise InUse(
            "demonstrations of "
            + ", ".join(f"{one.name}@{one.version}" for one in used)
            + " would be forgotten, which is in use: --in-use, or in_use in the form, makes a version "
            "without them and puts it into use"
        )
    with session_scope(runtime.engine) as session:
        running = running_partitions(session)
        held = held_keys(session, running.values())
    if busy := [f"{run}" for run, key in running.items() if key in held]:
        raise InUse(
            f"runs are going on that may write what is forgotten: {', '.join(busy[:3])}; wait for them, or "
            "go on all the same with --in-use, or in_use in the form"
        )


def _graves(tombstones: Tombstones, session: Session, extent: Extent) -> dict[bytes, Grave]:
    """Return the tombstones of contents, uris and versions, by what they stand for."""
    versions = {version_name(clip.uri, clip.version_token) for clip in extent.clips}
    return {
        **tombstones.graves(session, "content", extent.contents),
        **tombstones.graves(session, "uri", {clip.uri.encode() for clip in extent.clips}),
        **tombstones.graves(session, "version", versions),
    }


def _bury(runtime: Runtime, tombstones: Tombstones, extent: Extent, run: OpenRun) -> dict[bytes, Grave]:
    with run_session(runtime, run.claim) as session:
        graves = _graves(tombstones, session, extent)
        bury(session, graves.values())
    return graves


def _delete(
    tombstones: Tombstones, session: Session, extent: Extent, names: Names, graves: Mapping[bytes, Grave]
) -> tuple[Mapping[str, int], Sequence[Replacement]]:
    """Delete the rows, with new versions of libraries in place of those that are in use."""
    session.execute(text("SET LOCAL statement_timeout = 0"))
    used = used_versions(session, extent.library_versions)
    check_replaceable(session, used, extent.contents)
    replacements = replace_versions(session, used, extent.contents)
    hashes = {content: graves[content].keyed_hash for content in extent.contents}
    others = {grave.keyed_hash for grave in graves.values()} - set(hashes.values())
    purged = {version: tombstones.in_place_of(old) for version, old in extent.library_versions.items()}
    deleted = delete_forgotten(session, hashes, others, [clip.id for clip in extent.clips], purged)
    return {**deleted, "runs": hide_names_in_runs(session, names.texts)}, replacements


def report_lines(forgetting: Forgetting, *, dry_run: bool) -> list[str]:
    """Return what went, or would go, as lines that name nothing of it."""
    would = "would be " if dry_run else ""
    rows = {table: number for table, number in forgetting.rows.items() if number}
    lines = [
        f"{number:>9,} {'row' if number == 1 else 'rows'} of {table} {would}deleted"
        for table, number in rows.items()
        if table != "runs"
    ]
    if named := rows.get("runs"):
        lines.append(f"{named:>9,} rows of runs {would}rid of names")
    lines += [f"{number:>9,} {_KINDS[kind]} {would}changed" for kind, number in forgetting.objects.items()]
    lines += [
        f"{one.new} {'would take' if dry_run else 'takes'} the place of {one.old}"
        for one in forgetting.replacements
    ]
    return lines or ["nothing is stored of it"]


_KINDS = {
    "files": "files of runs",
    "lake_files": "files of the lake",
    "audio_files": "objects of generated audio",
    "artifacts": "artifacts of Prefect",
    "flow_runs": "flow runs of Prefect",
}


def names_of(given: Iterable[str]) -> Names:
    """Return the names that a check alone looks for: digests, and uris as they are given."""
    contents, by_name = _meanings(given)
    return Names(contents, frozenset(uri for uris in by_name.values() for uri in uris))
