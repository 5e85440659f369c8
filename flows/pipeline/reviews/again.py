"""The last nights of a library's places, answered again by another version: what it costs and changes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.clips import clips_with_tokens
from db.engine import session_scope
from db.reviews.nights import current_labels_of, labels_of_then, last_nights, uris_of_nights
from db.run_history import work_began
from flows.pipeline.labeling.label import Labeling
from flows.pipeline.nights.jobs import BatchRunner, label_selection, tokenize_place
from flows.pipeline.nights.preview import pace
from flows.pipeline.reviews.answers import Answers
from flows.pipeline.runs.run import OpenRun
from flows.pipeline.runtime.resources import Runtime

NIGHT = "nightly-labeling"
EXAMPLES_PER_MOVE = 5
MAX_PREVIEWED = 1_000
"""Clips whose next answer is computed before anything is decided; of more, a fair sample."""


@dataclass(frozen=True)
class Change:
    """A clip whose answer would be another one."""

    uri: str
    before: str
    after: str


@dataclass(frozen=True)
class Outlook:
    """What answering the last nights again would cost and change.

    clips: those of the nights. compared: clips whose next answer was computed; kept: those of them whose
    answer stays, by label. minutes is None without nights whose pace is known.
    """

    nights: int
    clips: int
    compared: int
    changes: Sequence[Change]
    minutes: float | None
    kept: Mapping[str, int]

    @property
    def expected_changes(self) -> int:
        """The number of answers that would change, of all clips."""
        return round(self.clips * len(self.changes) / self.compared) if self.compared else 0

    @property
    def moves(self) -> Counter[tuple[str, str]]:
        """How often each label would become another one."""
        return Counter((one.before, one.after) for one in self.changes)

    def as_json(self) -> dict[str, Any]:
        """Return the outlook as runs keep it, with a few examples of each move."""
        examples: dict[tuple[str, str], list[str]] = {}
        for one in self.changes:
            examples.setdefault((one.before, one.after), []).append(one.uri)
        moves = [
            {"before": old, "after": new, "clips": count, "examples": examples[old, new][:EXAMPLES_PER_MOVE]}
            for (old, new), count in self.moves.most_common()
        ]
        return {
            "nights": self.nights,
            "clips": self.clips,
            "compared": self.compared,
            "changed": len(self.changes),
            "would_change": self.expected_changes,
            "minutes": self.minutes,
            "kept": dict(self.kept),
            "moves": moves,
        }


def places_of(runtime: Runtime, library: str, nights: int) -> tuple[int, dict[str, list[str]]]:
    """Return how many nights are to be answered again, and their clips by place."""
    with session_scope(runtime.engine) as session:
        found = last_nights(session, library, nights)
        return len(found), uris_of_nights(session, found)


def outlook(runtime: Runtime, library: str, nights: int, before: Answers, after: Answers) -> Outlook:
    """Return what one side would change in the answers of another of the last nights; nothing is written."""
    count, places = places_of(runtime, library, nights)
    uris = {uri for some in places.values() for uri in some}
    with session_scope(runtime.engine) as session:
        clips = clips_with_tokens(session, uris, runtime.codec_id)
    sample = sorted(clips, key=lambda clip: hashlib.sha256(clip.content_sha256).digest())[:MAX_PREVIEWED]
    old = before({clip.content_sha256 for clip in sample})
    new = after(old.keys())
    compared = [clip for clip in sample if clip.content_sha256 in new]
    pairs = [Change(one.uri, old[one.content_sha256], new[one.content_sha256]) for one in compared]
    changes = sorted((one for one in pairs if one.before != one.after), key=lambda one: one.uri)
    kept = Counter(one.before for one in pairs if one.before == one.after)
    speed = pace(runtime, NIGHT)
    minutes = len(uris) / speed.clips_per_second / 60 if speed else None
    return Outlook(count, len(uris), len(compared), changes, minutes, kept)


def answer_again(
    runtime: Runtime, labeling: Labeling, nights: int, run: OpenRun, run_batches: BatchRunner
) -> int:
    """Answer the clips of the last nights by a version, and return how many current labels moved.

    Of a promotion that is taken up again all count that moved since it began.
    """
    library = labeling.setup.library.name
    _, places = places_of(runtime, library, nights)
    labeling.setup.prepare(run.claim)
    for place, uris in places.items():
        tokenize_place(runtime, place, uris, run, run_batches, labeling.setup.answering.embedding_models)
        label_selection(labeling, uris, run, run_batches)
    everywhere = {uri for some in places.values() for uri in some}
    with session_scope(runtime.engine) as session:
        contents = {clip.content_sha256 for clip in clips_with_tokens(session, everywhere, runtime.codec_id)}
        before = labels_of_then(session, library, contents, work_began(session, run.id))
        after = current_labels_of(session, library, contents)
    return sum(before[content].label != now.label for content, now in after.items() if content in before)
