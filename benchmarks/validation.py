"""Codecs in training compared on clips that are made for it, so that no recorded set decides what ships.

`python -m benchmarks.validation CODEC ...` prints a table and a JSON line. The clips are sounds and phrases
by the rules of the training data, from another seed; espeak-ng speaks. Each measure is of the same clips for
every codec: STOI and mel distance after the codec, the share of words that Whisper gets wrong (where it is
installed), and the share of sounds whose nearest other one, by its codes, is of the same class.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.means import Mean, mean_of, rate_of
from core.codec import LLMCodec
from core.codec.clip_encoder import encode_clip_codes
from core.evaluation.metrics import mel_distance, stoi
from core.evaluation.whisper import MISSING, Whisper, find_whisper
from core.evaluation.word_errors import word_errors, words
from core.in_context.baselines import similarities
from core.training.data.clips import SOUND, SPEECH, BankSpec, TrainingClip, make_clips

SPEC = BankSpec(sound_classes=20, speech_classes=10, takes=3, duration=1.92, seed=2026)


def measures(codec: LLMCodec, clips: Sequence[TrainingClip], whisper: Whisper | None) -> dict[str, Mean]:
    """Return every measure over the clips of its kind."""
    found = {"sounds of one class nearest": nearest_of_class(codec, of_kind(clips, SOUND))}
    for kind in (SPEECH, SOUND):
        kept = of_kind(clips, kind)
        pairs = [(waveform(clip), round_trip(codec, clip)) for clip in kept]
        found[f"mel distance of {kind}, dB"] = mean_of([mel_distance(*pair, 16_000) for pair in pairs])
        if kind == SPEECH:
            found["STOI of speech"] = mean_of([v for pair in pairs if (v := stoi(*pair, 16_000)) is not None])
            if whisper:
                found["words wrong, recorded"] = misheard(kept, [one for one, _ in pairs], whisper)
                found["words wrong, after the codec"] = misheard(kept, [one for _, one in pairs], whisper)
    return found


def of_kind(clips: Sequence[TrainingClip], kind: str) -> list[TrainingClip]:
    """Return the clips of a kind."""
    return [clip for clip in clips if clip.kind == kind]


def waveform(clip: TrainingClip) -> Tensor:
    """Return samples as (1, 1, T)."""
    return torch.from_numpy(clip.samples).view(1, 1, -1)


def round_trip(codec: LLMCodec, clip: TrainingClip) -> Tensor:
    """Return a clip as its codes sound."""
    return codec.decode(codec.encode(waveform(clip)))[..., : len(clip.samples)]


def misheard(clips: Sequence[TrainingClip], heard: Sequence[Tensor], whisper: Whisper) -> Mean:
    """Return the share of the clips' words that Whisper gets wrong."""
    errors = [
        word_errors(clip.caption, whisper.transcript(one)) for clip, one in zip(clips, heard, strict=True)
    ]
    return rate_of(errors, [len(words(clip.caption)) for clip in clips])


def nearest_of_class(codec: LLMCodec, clips: Sequence[TrainingClip]) -> Mean:
    """Return the share of clips whose nearest other one by its codes is of their class."""
    codes = encode_clip_codes(codec, [clip.samples for clip in clips])
    likeness = similarities(codes, codes)
    np.fill_diagonal(likeness, -1.0)
    pairs = zip(clips, likeness.argmax(1), strict=True)
    return mean_of([float(clips[nearest].text == clip.text) for clip, nearest in pairs])


def main(directories: Sequence[str]) -> None:
    """Print the tables and the JSON line."""
    torch.set_num_threads(1)
    clips, whisper, figures = list(make_clips(SPEC)), find_whisper(), {}
    for directory in directories:
        codec = LLMCodec.from_directory(Path(directory))
        found = measures(codec, clips, whisper)
        print(f"{directory} ({codec.fingerprint[:12]})")
        print("\n".join(f"  {name:<30}{mean}" for name, mean in found.items()), flush=True)
        figures[directory] = {name: asdict(mean) for name, mean in found.items()}
    if whisper is None:
        print(MISSING)
    print(json.dumps({"benchmark": "validation", "codecs": figures}))


if __name__ == "__main__":
    main(sys.argv[1:])
