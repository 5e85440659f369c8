"""Objects of results without what was forgotten: exports and pages of runs, the lake, generated audio.

New files come first, then the manifest, then the row, and old files go last: a run that is killed between two
of them leaves old files, which the next one finds again.
"""

import json
import re
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from urllib.parse import unquote

from db.engine import session_scope
from db.forgetting import Extent, pages_showing, rewrite_export
from db.object_version import ObjectVersion
from flows.pipeline.clips.ingest import GENERATED
from flows.pipeline.clips.tombstones import Tombstones
from flows.pipeline.files.lake import held
from flows.pipeline.labeling.events.files import file_stem
from flows.pipeline.labeling.exports.files import MANIFEST, NAME_HEX_DIGITS
from flows.pipeline.maintenance.forgetting.files import count_rows, names_are_in_file, without_names
from flows.pipeline.maintenance.forgetting.names import Names
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import Storage, Stored, below, canonical
from flows.pipeline.storage.hashed_copy import sha256_of
from flows.pipeline.storage.uris import is_s3

RUNS, LAKE = "runs", ("labels", "tokens")
CLOCKS_DIFFER = timedelta(days=1)
"""Objects this much older than a clip's first listing cannot name it, however clocks differ."""
_EXPORTED = re.compile(r"labels-[0-9a-f]+\.(parquet|jsonl)")
_DAY = re.compile(r"[a-z]+/day=(\d{4}-\d\d-\d\d)/")


@dataclass(frozen=True)
class Results:
    """The place for results, searched for the names of what is forgotten."""

    runtime: Runtime
    names: Names
    root: str = field(init=False)
    storage: Storage = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", canonical(self.runtime.settings.storage_uri))
        object.__setattr__(self, "storage", self.runtime.storage(self.root))

    def key(self, uri: str) -> str:
        """Return the key of an object, as it was written; the address of a local file is encoded."""
        key = uri.removeprefix(below(self.root))
        return key if is_s3(uri) else unquote(key)

    def listed(self, folder: str) -> list[ObjectVersion]:
        """List a folder of the results."""
        return list(self.storage.list(f"{self.root}/{folder}"))

    def naming(self, listed: Sequence[ObjectVersion]) -> list[ObjectVersion]:
        """Return those of the objects that hold a name, in their own names or in their bytes."""
        found = self.runtime.downloads.map(self._is_naming, listed)
        return [one for one, is_naming in zip(listed, found, strict=True) if is_naming]

    def _is_naming(self, listed: ObjectVersion) -> bool:
        if any(stem in listed.uri for stem in self.stems):
            return True
        with self.storage.read(listed.uri, listed.version_token, listed.size) as fetched:
            if fetched.sha256 in self.names.contents:
                return True
            return names_are_in_file(fetched.path, _kind(listed.uri), self.names)

    @cached_property
    def stems(self) -> frozenset[str]:
        """The names of event files of the forgotten clips."""
        return frozenset(map(file_stem, self.names.uris))

    def rewritten(self, listed: ObjectVersion) -> bytes:
        """Return the bytes of an object without what was forgotten."""
        with self.storage.read(listed.uri, listed.version_token, listed.size) as fetched:
            return without_names(fetched.path, _kind(listed.uri), self.names)


def forget_objects(runtime: Runtime, extent: Extent, names: Names, *, dry_run: bool = False) -> Counts:
    """Delete and rewrite the objects that hold a name; with `dry_run`, only count them."""
    results = Results(runtime, names)
    counts = Counts()
    for forget in (_forget_runs, _forget_lake, _forget_audio):
        counts.update(forget(results, extent, dry_run=dry_run))
    return counts


def forget_lake_again(runtime: Runtime, extent: Extent, names: Names) -> Counts:
    """Rewrite files of the lake that another run wrote while the rows were still there."""
    return _forget_lake(Results(runtime, names), extent, dry_run=False)


def _kind(uri: str) -> str:
    return uri.rpartition(".")[2]


def _recent(listed: Iterable[ObjectVersion], extent: Extent) -> list[ObjectVersion]:
    """Leave out objects that are older than every clip that is forgotten."""
    if not extent.clips:
        return list(listed)
    since = min(clip.first_seen for clip in extent.clips) - CLOCKS_DIFFER
    return [one for one in listed if one.last_modified >= since]


def _forget_runs(results: Results, extent: Extent, *, dry_run: bool) -> Counts:
    listed = _recent(results.listed(RUNS), extent)
    with session_scope(results.runtime.engine) as session:
        shown = pages_showing(session, extent.library_versions)
    pages = [one for one in listed if one.uri in shown and _kind(one.uri) == "html"]
    others = [one for one in listed if one not in pages]
    named = results.naming(others) + pages
    by_folder: dict[str, list[ObjectVersion]] = {}
    for one in named:
        by_folder.setdefault(one.uri.rpartition("/")[0], []).append(one)
    if not dry_run:
        for folder, objects in by_folder.items():
            _rewrite_folder(results, folder, objects)
    return Counts(files=len(named)) if named else Counts()


def _rewrite_folder(results: Results, folder: str, objects: Collection[ObjectVersion]) -> None:
    """Rewrite the files of a run that hold a name, its manifest and the row of its export."""
    events = [one for one in objects if any(stem in one.uri for stem in results.stems)]
    for event in events:
        results.storage.delete(event.uri)
    changed = [one for one in objects if one not in events]
    exported = [one for one in changed if _EXPORTED.fullmatch(one.uri.rpartition("/")[2])]
    written: dict[str, str | None] = {}
    for one in changed:
        if one not in exported and (data := results.rewritten(one)):
            stored = results.storage.write(results.key(one.uri), data)
            written[one.uri.rpartition("/")[2]] = stored.sha256.hex()
    num_rows = _rewrite_export(results, folder, exported, written) if exported else None
    for end in (MANIFEST, *(name for name in written if name.endswith(".html"))):
        _record(results, f"{folder}/{end}", num_rows, written)
    for one in exported:
        if written[one.uri.rpartition("/")[2]] is None:
            results.storage.delete(one.uri)


def _record(results: Results, uri: str, num_rows: int | None, written: dict[str, str | None]) -> None:
    new_key = Tombstones(results.runtime.settings).in_place_of
    with session_scope(results.runtime.engine) as session:
        rewrite_export(session, uri, new_key, num_rows, written)


def _rewrite_export(
    results: Results, folder: str, exported: Collection[ObjectVersion], written: dict[str, str | None]
) -> int:
    """Write label files anew under the names of their bytes, then the manifest; return the number of rows."""
    new: dict[str, Stored] = {}
    for one in exported:
        data = results.rewritten(one)
        old = one.uri.rpartition("/")[2]
        new[old] = _store(results, folder, old, data)
        written |= {old: None, new[old].uri.rpartition("/")[2]: new[old].sha256.hex()}
    num_rows = _num_rows(results, new.values())
    if manifest := results.storage.find(f"{folder}/{MANIFEST}"):
        stored = _rewrite_manifest(results, manifest, new, num_rows)
        written[MANIFEST] = stored.sha256.hex()
    return num_rows


def _store(results: Results, folder: str, old: str, data: bytes) -> Stored:
    name = f"labels-{sha256_of(data).hex()[:NAME_HEX_DIGITS]}.{_kind(old)}"
    return results.storage.write(f"{results.key(folder)}/{name}", data)


def _num_rows(results: Results, files: Iterable[Stored]) -> int:
    for one in files:
        listed = results.storage.find(one.uri)
        assert listed
        with results.storage.read(one.uri, listed.version_token, listed.size) as fetched:
            if _kind(one.uri) == "parquet":
                return count_rows(fetched.path)
            return fetched.path.read_bytes().count(b"\n")
    raise AssertionError("an export without files")


def _rewrite_manifest(
    results: Results, listed: ObjectVersion, new: dict[str, Stored], num_rows: int
) -> Stored:
    with results.storage.read(listed.uri, listed.version_token, listed.size) as fetched:
        manifest = json.loads(fetched.path.read_bytes())
    manifest["num_rows"] = num_rows
    manifest["files"] = [
        {"name": stored.uri.rpartition("/")[2], "size": stored.size, "sha256": stored.sha256.hex()}
        if (stored := new.get(file["name"]))
        else file
        for file in manifest["files"]
    ]
    data = json.dumps(manifest, indent=2).encode() + b"\n"
    return results.storage.write(results.key(listed.uri), data)


def _forget_lake(results: Results, extent: Extent, *, dry_run: bool) -> Counts:
    days = {str(clip.day) for clip in extent.clips}
    counts = Counts()
    for folder in LAKE:
        for one in results.listed(folder):
            key = results.key(one.uri)
            if days and _day(key) not in days:
                continue
            hold: AbstractContextManager[None] = nullcontext() if dry_run else held(results.runtime, key)
            with hold:
                counts.update(_forget_rows(results, one.uri, dry_run=dry_run))
    return counts


def _day(key: str) -> str | None:
    found = _DAY.match(key)
    return found[1] if found else None


def _forget_rows(results: Results, uri: str, *, dry_run: bool) -> Counts:
    """Rewrite a file of the lake that holds a name, as it is now that nobody else writes it."""
    listed = results.storage.find(uri)
    if listed is None or not results.naming([listed]):
        return Counts()
    if not dry_run:
        results.storage.write(results.key(uri), results.rewritten(listed))
    return Counts(lake_files=1)


def _forget_audio(results: Results, extent: Extent, *, dry_run: bool) -> Counts:
    """Delete the objects of generated audio. Those outside the place for results are left to their owner."""
    ours = [one.uri for one in extent.audio if one.uri.startswith(below(f"{results.root}/{GENERATED}"))]
    there = [uri for uri in ours if results.storage.find(uri)]
    if not dry_run:
        for uri in there:
            results.storage.delete(uri)
    return Counts(audio_files=len(there)) if there else Counts()
