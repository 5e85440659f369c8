"""Consistency of tables, view and stored files: nothing lost, doubled, torn or wrong.

The definitions are implemented here again in plain Python, from the rows alone, so that a wrong query of the
flows cannot confirm itself.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal

from db.ledger import Ledger, Row
from db.object_version import ObjectVersion
from db.promotions import ModelSet
from flows.pipeline.storage import Storage

Kind = Literal["lost", "doubled", "torn", "wrong"]
PromotedModelSets = Mapping[tuple[str, str], ModelSet]
"""What is promoted, by task and library."""


@dataclass(frozen=True)
class Finding:
    """A broken promise."""

    kind: Kind
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


def check_ledger(ledger: Ledger, storage: Storage, results: str) -> list[Finding]:
    """Return the findings that must never occur, whatever was interrupted."""
    return [
        *_doubled(ledger),
        *_answered_twice_differently(ledger),
        *_wrong_current_answers(ledger),
        *_untrue_manifests(ledger, read_files(storage, results)),
    ]


def check_settled(
    ledger: Ledger, listed: Iterable[ObjectVersion], place: str, model_set: ModelSet
) -> list[Finding]:
    """Return what a completed night left undone: objects of the place that are not clips, and the reverse,
    and clips without an answer by `model_set` and without a reason."""
    there = {(clip.uri, clip.version_token) for clip in listed}
    known = {(clip["uri"], clip["version_token"]) for clip in ledger.current if clip["uri"].startswith(place)}
    return [
        *(Finding("lost", f"{uri} is in no listing") for uri, _ in sorted(there - known)),
        *(Finding("wrong", f"{uri} is no longer there") for uri, _ in sorted(known - there)),
        *_unanswered(ledger, place, model_set),
    ]


def check_contents(ledger: Ledger, sha256s: Mapping[str, bytes]) -> list[Finding]:
    """Return clips whose stored digest is not that of the bytes at their uri."""
    return [
        Finding("wrong", f"{clip['uri']} has the digest of other bytes")
        for clip in ledger.current
        if clip["content_sha256"]
        and sha256s.get(clip["uri"], clip["content_sha256"]) != clip["content_sha256"]
    ]


def _doubled(ledger: Ledger) -> Iterator[Finding]:
    """Yield doubled rows. Unique indexes forbid them too, but this reads what is stored."""
    keys = {
        "standing answers of work key {}": [row["work_key"].hex() for row in ledger.standing],
        "current versions of {}": [row["uri"] for row in ledger.current],
        "open quarantine rows of clip and stage {}": [(r["clip_id"], r["stage"]) for r in ledger.waiting],
        "current answers in analytics.labels of {}": list(map(itemgetter(*_LABEL_KEY), ledger.labels)),
    }
    for name, found in keys.items():
        for key, count in Counter(found).items():
            if count > 1:
                yield Finding("doubled", f"{count} {name.format(key)}")


def _answered_twice_differently(ledger: Ledger) -> Iterator[Finding]:
    labels = defaultdict(set)
    for answer in ledger.answers:
        labels[answer["work_key"]].add(answer["label"])
    for key, different in labels.items():
        if len(different) > 1:
            yield Finding("wrong", f"work key {key.hex()} was answered {sorted(different)}")


_LABEL_KEY = ("uri", "task", "library")


def _wrong_current_answers(ledger: Ledger) -> Iterator[Finding]:
    """Compare the analysts' view with the definition of a current answer."""
    shown = {(*(row[name] for name in _LABEL_KEY), row["label"], row["run"]) for row in ledger.labels}
    expected = {
        (uri, answer["task"], answer["library"], answer["label"], answer["run_id"])
        for uri, answer in current_answers(ledger)
    }
    for row in sorted(shown ^ expected, key=repr):
        side = "shows" if row in shown else "does not show"
        yield Finding("wrong", f"analytics.labels {side} {row}")


def current_answers(ledger: Ledger) -> Iterator[tuple[str, Row]]:
    """Yield uri and answer: by what is promoted for task and library, else the latest that stands, on the
    newest version of each uri."""
    promoted = {(row["task"], row["library"]): _model_set(row) for row in ledger.promotions}
    best: dict[tuple[bytes, str, str], Row] = {}
    for answer in sorted(ledger.standing, key=lambda answer: _rank(answer, promoted)):
        best[answer["content_sha256"], answer["task"], answer["library"]] = answer
    for uri, clip in _newest_versions(ledger):
        for (content, _, _), answer in best.items():
            if content == clip["content_sha256"]:
                yield uri, answer


def _rank(answer: Row, promoted: PromotedModelSets) -> tuple[Any, ...]:
    is_promoted = promoted.get((answer["task"], answer["library"])) == _model_set(answer)
    return is_promoted, answer["created_at"], answer["id"]


def _model_set(row: Row) -> ModelSet:
    return ModelSet(row["demonstration_set_id"], row["codec_id"], row["llm_id"])


def _newest_versions(ledger: Ledger) -> Iterable[tuple[str, Row]]:
    newest: dict[str, Row] = {}
    for clip in sorted(ledger.clips, key=_age):
        newest[clip["uri"]] = clip
    return newest.items()


def _age(clip: Row) -> tuple[Any, ...]:
    since = clip["missing_since"]
    return since is None, 0 if since is None else since.timestamp(), clip["id"]


def _unanswered(ledger: Ledger, place: str, model_set: ModelSet) -> Iterator[Finding]:
    answered = {row["content_sha256"] for row in ledger.standing if _model_set(row) == model_set}
    waiting = {row["clip_id"] for row in ledger.waiting}
    for clip in ledger.current:
        in_place = clip["uri"].startswith(place)
        if in_place and clip["content_sha256"] not in answered and clip["id"] not in waiting:
            yield Finding("lost", f"{clip['uri']} has no answer and no reason")


def read_files(storage: Storage, results: str) -> dict[str, bytes]:
    """Return everything that runs wrote below `results`, by uri."""
    files = {}
    for listed in storage.list(results):
        with storage.read(listed.uri, listed.version_token, listed.size) as fetched:
            files[listed.uri] = fetched.path.read_bytes()
    return files


def _untrue_manifests(ledger: Ledger, files: Mapping[str, bytes]) -> Iterator[Finding]:
    exports = {row["uri"]: row for row in ledger.exports if row["completed_at"]}
    for uri in sorted(exports.keys() - files.keys()):
        yield Finding("torn", f"the export {uri} is complete and has no manifest")
    begun = {row["uri"] for row in ledger.exports}
    for uri in filter(_is_manifest, sorted(files)):
        if uri not in begun:
            yield Finding("torn", f"no row names the manifest {uri}")
        folder = uri.rpartition("/")[0]
        named = json.loads(files[uri])["files"]
        yield from _untrue_files(uri, {f"{folder}/{file['name']}": file for file in named}, files)
        if uri in exports and _digests(exports[uri], files[uri]) != {file["sha256"] for file in named}:
            yield Finding("torn", f"the row of the export {uri} has other digests than its manifest")


def _digests(export: Row, manifest: bytes) -> set[str]:
    """Return the digests of a row without that of the manifest, which rows of earlier versions lack."""
    return set(export["sha256s"].values()) - {hashlib.sha256(manifest).hexdigest()}


def _untrue_files(manifest: str, named: Mapping[str, Row], files: Mapping[str, bytes]) -> Iterator[Finding]:
    for uri, file in named.items():
        if uri not in files:
            yield Finding("torn", f"{manifest} names {uri}, which is not there")
        elif hashlib.sha256(files[uri]).hexdigest() != file["sha256"]:
            yield Finding("torn", f"{manifest} names a digest that {uri} does not have")


def _is_manifest(uri: str) -> bool:
    name = uri.rpartition("/")[2]
    return "/runs/" in uri and name.startswith("manifest") and name.endswith(".json")
