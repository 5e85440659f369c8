"""Counting of words, near copies and motifs, which analysts read as tables.

Each content is counted once, in the transaction that notes that it was. So a run that is killed goes on where
it was, and a run without new contents adds nothing.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from core.tokens.motifs import count_motifs
from core.tokens.near_copies import near_copy_keys
from db.bulk_insert import Row
from db.counted_days import count_marked_days
from db.engine import session_scope
from db.word_counts import (
    START,
    CodeSequence,
    LabeledSequence,
    Place,
    add_counts,
    add_near_copies,
    counted_libraries,
    labeled_sequences,
    replace_motifs,
    settle_code_index,
    uncounted_sequences,
)
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.run import OpenRun, recorded_run, run_session
from flows.pipeline.runtime.resources import Runtime

KIND = "count-words"
BATCH = 20_000
LEAST_OVERLAP, MOST_COPIES = 0.8, 20


def count_words(runtime: Runtime, *, flow_run_id: str | None = None) -> OpenRun:
    """Count the contents that are not counted, motifs of labels, and days that changed. Return the run."""
    with recorded_run(runtime, KIND, "all contents", {}, flow_run_id=flow_run_id) as run:
        place: Place | None = START
        while place:
            place = _count_batch(runtime, run, place)
        with session_scope(runtime.engine) as session:
            settle_code_index(session)
            libraries = counted_libraries(session)
        for library, task in libraries:
            run.count("motifs", Counts(counted=_count_motifs(runtime, run, library, task)))
        run.count("days", Counts(counted=count_marked_days(runtime.engine)))
    return run


def _count_batch(runtime: Runtime, run: OpenRun, after: Place) -> Place | None:
    """Count a batch of contents behind a place; return where it ended, None if there was none."""
    with run_session(runtime, run.claim) as session:
        batch = uncounted_sequences(session, after, BATCH)
        copies = 0
        for codec_id, group in groupby(sorted(batch, key=_codec_id), key=_codec_id):
            sequences = list(group)
            add_counts(session, codec_id, code_counts([one.codes for one in sequences]))
            keys = near_copy_keys([one.codes for one in sequences]).tolist()
            of_content = {one.content_sha256: keys[place] for place, one in enumerate(sequences)}
            copies += add_near_copies(session, codec_id, of_content, LEAST_OVERLAP, MOST_COPIES)
    if not batch:
        return None
    run.count("words", Counts(contents=len(batch), near_copies=copies))
    return batch[-1].place


def _count_motifs(runtime: Runtime, run: OpenRun, library: str, task: str) -> int:
    """Count the motifs of a library's labels anew; return their number."""
    motifs: list[Row] = []
    with run_session(runtime, run.claim) as session:
        for codec_id, group in groupby(labeled_sequences(session, library, task), key=_codec_id):
            motifs += _motif_rows(codec_id, list(group))
        replace_motifs(session, library, task, motifs)
    return len(motifs)


def _motif_rows(codec_id: int, sequences: Sequence[LabeledSequence]) -> list[Row]:
    """Return the rows of the motifs of labeled sequences, with the number of sequences read."""
    labels = [one.label for one in sequences]
    sizes = Counter(labels)
    return [
        {
            "codec_id": codec_id,
            "label": motif.label,
            "codes": motif.codes,
            "contents": motif.clips,
            "of_contents": sizes[motif.label],
            "elsewhere": motif.elsewhere,
            "of_elsewhere": len(labels) - sizes[motif.label],
        }
        for motif in count_motifs([one.codes for one in sequences], labels)
    ]


def _codec_id(one: CodeSequence | LabeledSequence) -> int:
    return one.codec_id


def code_counts(sequences: Sequence[Sequence[int]]) -> dict[int, tuple[int, int]]:
    """Return for each code the number of sequences that have it and how often it occurs in them."""
    flat = np.concatenate([np.asarray(codes, np.int64) for codes in sequences])
    rows = np.repeat(np.arange(len(sequences)), [len(codes) for codes in sequences])
    codes, occurrences = np.unique(flat, return_counts=True)
    once = np.unique(rows * 2**15 + flat) % 2**15
    contents = np.unique(once, return_counts=True)[1]
    return dict(zip(codes.tolist(), zip(contents.tolist(), occurrences.tolist(), strict=True), strict=True))
