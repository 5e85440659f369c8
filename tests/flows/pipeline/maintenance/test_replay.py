"""Replay: quarantined clips are tried again, and only those."""

from pathlib import Path

import numpy as np
import pytest

from db.listing import MostClipsLost
from db.runs import RunClaim
from flows.pipeline.labeling.report import quarantined
from flows.pipeline.maintenance.replay import replay_place
from flows.pipeline.nights.jobs import with_bar
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import canonical
from tests.flows.pipeline.clips.test_tokenize_clips import tokenize_all
from tests.flows.pipeline.conftest import rows, tone, write_clip


def test_replayed_clips_are_tried_again_and_the_others_wait(
    runtime: Runtime, folder: Path, run_id: RunClaim
) -> None:
    write_clip(folder / "quiet.wav", np.zeros(8000, np.float32))
    (folder / "junk.wav").write_bytes(b"junk")
    write_clip(folder / "tone.wav", tone(440))
    tokenize_all(runtime, folder, run_id)
    tolerant = Runtime(runtime.settings.model_copy(update={"allow_silent": True}))
    try:
        replay = replay_place(tolerant, str(folder), ["silent"], with_bar)
    finally:
        tolerant.close()
    assert replay.uris == {f"{canonical(str(folder))}/quiet.wav"}
    assert {name: n for name, n in replay.run.counts.items() if n} == {
        "ingest.known": 3,
        "replay.replayed": 1,
        "tokenize.tokenized": 1,
    }
    question = "SELECT reason, resolved_at IS NULL FROM quarantine ORDER BY reason"
    assert rows(runtime.engine, question) == [("silent", False), ("unsupported", True)]


def test_a_clip_that_still_cannot_be_used_is_set_aside_anew(
    runtime: Runtime, folder: Path, run_id: RunClaim
) -> None:
    (folder / "junk.wav").write_bytes(b"junk")
    tokenize_all(runtime, folder, run_id)
    again = replay_place(runtime, str(folder), [], with_bar).run
    assert again.counts["tokenize.quarantined:unsupported"] == 1
    question = "SELECT last_run, resolved_at IS NULL FROM quarantine ORDER BY id"
    assert rows(runtime.engine, question) == [(run_id.id, False), (again.id, True)]


def test_a_repaired_file_heals(runtime: Runtime, folder: Path, run_id: RunClaim) -> None:
    (folder / "junk.wav").write_bytes(b"junk")
    (folder / "gone.wav").write_bytes(b"more junk")
    tokenize_all(runtime, folder, run_id)
    write_clip(folder / "junk.wav", tone(440))
    (folder / "gone.wav").unlink()
    replay = replay_place(runtime, str(folder), [], with_bar)
    assert (replay.run.counts["tokenize.tokenized"], replay.run.counts["ingest.gone"]) == (1, 1)
    assert not quarantined(runtime, replay.uris)
    tokenized = "SELECT count(*)::int FROM clips WHERE missing_since IS NULL AND content_sha256 IS NOT NULL"
    assert rows(runtime.engine, tokenized) == [(1,)]


def test_a_place_that_is_not_there_is_not_taken_for_an_empty_one(
    runtime: Runtime, folder: Path, run_id: RunClaim
) -> None:
    for number in range(30):
        (folder / f"{number}.wav").write_bytes(b"junk")
    tokenize_all(runtime, folder, run_id)
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(MostClipsLost):
        replay_place(runtime, str(folder), [], with_bar)
    assert len(quarantined(runtime, canonical(str(folder)))) == 30
