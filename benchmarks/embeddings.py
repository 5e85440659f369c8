"""The cost of embedding models next to the codec: clips a second of tokenizing with and without them.

`python -m benchmarks.embeddings [ROUNDS]` reads, decodes and encodes the recorded sound events as a night
does, without and with the models that WORDWAVE_EMBEDDINGS names, in turn, and prints both and a JSON line.
Nothing is written, so the cost beside that of a whole night is smaller.
"""

import json
import sys
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.machine import seconds_of
from benchmarks.recorded import data_root, verdict
from core.errors import AudioRejected
from db.clips import ClipToTokenize
from flows.pipeline.clips.tokenize_clips import encode_again
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import canonical

ROUNDS = 5
BAR = 1.5
"""How often the time without embedding models tokenizing with them may take."""


def listed_clips(runtime: Runtime, folder: Path) -> list[ClipToTokenize]:
    """Return the clips of a folder as a night tokenizes them."""
    place = canonical(str(folder))
    listed = enumerate(runtime.storage(place).list(place))
    return [ClipToTokenize(number, one.uri, one.version_token, one.size) for number, one in listed]


def tokenize(runtime: Runtime, clips: list[ClipToTokenize]) -> None:
    """Tokenize clips in batches; raises the reason where one is rejected."""
    size = runtime.settings.batch_size
    storage = runtime.readable(clips[0].uri)
    for start in range(0, len(clips), size):
        for outcome in encode_again(runtime, storage, clips[start : start + size]):
            if isinstance(outcome, AudioRejected):
                raise outcome


def main(rounds: int) -> None:
    """Print clips a second of both, how often the time the models cost, and a JSON line."""
    folder = data_root() / "sound_events" / "dev"
    settings = Settings().reading(str(folder))
    without = Runtime(settings.model_copy(update={"embeddings": ()}))
    beside = Runtime(settings)
    # nothing is written, so these need no rows in a database
    without.embedding_model_ids, beside.embedding_model_ids = [], list(range(len(beside.embedders)))
    without.log_mel_id = beside.log_mel_id = len(beside.embedders)
    clips = [clip for clip in listed_clips(without, folder) if not clip.uri.endswith(".jsonl")]
    calls = [partial(tokenize, runtime, clips) for runtime in (without, beside)]
    for call in calls:
        call()
    seconds = [[seconds_of(call) for call in calls] for _ in range(rounds)]
    alone, together = (median(taken) for taken in zip(*seconds, strict=True))
    ratio = median(pair[1] / pair[0] for pair in seconds)
    names = ", ".join(one.description.name for one in beside.embedders) or "no model"
    print(f"{len(clips)} clips: {len(clips) / alone:.1f} a second, with {names} {len(clips) / together:.1f}")
    print(f"{ratio:.2f} times the time without, at most {BAR} {verdict(ratio <= BAR)}")
    figures = {"clips": len(clips), "without": len(clips) / alone, "with": len(clips) / together}
    print(json.dumps({"benchmark": "embeddings", "models": names, "ratio": ratio, **figures}))
    for runtime in (without, beside):
        runtime.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
