"""Replay: quarantined clips are tried again, and only those."""

from pathlib import Path
from uuid import UUID

import numpy as np

from flows.runtime import Runtime
from flows.stages.replay import replay
from flows.storage import canonical
from tests.flows.stages.conftest import rows, tone, write_clip
from tests.flows.stages.test_tokenize import tokenize_all


def test_replayed_clips_are_tried_again_and_the_others_wait(
    runtime: Runtime, folder: Path, run_id: UUID
) -> None:
    write_clip(folder / "quiet.wav", np.zeros(8000, np.float32))
    (folder / "junk.wav").write_bytes(b"junk")
    write_clip(folder / "tone.wav", tone(440))
    tokenize_all(runtime, folder, run_id)
    assert replay(runtime, canonical(str(folder)), ("silent",)) == 1
    tolerant = Runtime(runtime.settings.model_copy(update={"allow_silent": True}))
    try:
        assert tokenize_all(tolerant, folder, run_id) == {"tokenized": 1}
    finally:
        tolerant.close()
    question = "SELECT reason, resolved_at IS NULL FROM quarantine ORDER BY reason"
    assert rows(runtime.engine, question) == [("silent", False), ("unsupported", True)]
