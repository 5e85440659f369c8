"""Training data of a codec: clips with a text or class each, and random crops of them.

The bank is built once, from a seed, by rule (core.training.data.sounds) and by espeak-ng
(core.training.data.speech), and kept as one file, whose hash is in the model card. Recorded speech is added
through a reader passed as an argument.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor
from torch.nn import functional

from core.training.data.corpus import read_word_list, sentences
from core.training.data.families import Samples
from core.training.data.neural_voice import NeuralVoice
from core.training.data.sounds import sound_class
from core.training.data.speech import VOICES, speak

Reader = Callable[[str], Samples]
"""Reads a path or URI as samples: (T,) float32, mono, at the codec's rate."""

SOUND, SPEECH, VOICE = "sound", "speech", "voice"
WORDS_PER_PHRASE = 3


@dataclass(frozen=True)
class BankSpec:
    """Size of a bank. A class of sounds or speech has `takes` clips.

    A class of speech is a phrase in many voices, or a voice with many phrases. `voice_phrases` are said once
    each by a neural voice.
    """

    sound_classes: int
    speech_classes: int
    takes: int
    duration: float
    seed: int
    voice_phrases: int = 0


@dataclass(frozen=True)
class TrainingClip:
    """Samples, their kind, and the class or transcript for a semantic teacher.

    `caption` says in words what is heard, empty where the class has only a number or a name.
    """

    samples: Samples
    kind: str
    text: str
    caption: str = ""


@dataclass(frozen=True)
class Drawn:
    """What crops are of: numbers of clips, the sample of the clip at which each crop begins, below 0 where
    silence comes first, and how many samples of the clip one of the crop stands for.
    """

    clips: list[int]
    starts: list[int]
    speeds: list[float]


class Clips(Protocol):
    """Clips by number. `weights` says how often each is drawn."""

    weights: Tensor

    def samples(self, index: int) -> Samples: ...

    def text(self, index: int) -> str: ...


class CaptionedClips(Clips, Protocol):
    """Clips that also say in words what is heard; `sha256` tells them from others."""

    sha256: str

    def caption(self, index: int) -> str: ...


class ManifestClips:
    """Clips of a manifest: rows with `path` and `text` (or `label`), read when they are drawn."""

    def __init__(self, rows: Sequence[dict[str, str]], reader: Reader) -> None:
        self.rows = rows
        self.reader = reader
        self.weights = torch.ones(len(rows))
        self.sha256 = hashlib.sha256(json.dumps(list(rows)).encode()).hexdigest()

    def samples(self, index: int) -> Samples:
        return self.reader(self.rows[index]["path"])

    def text(self, index: int) -> str:
        row = self.rows[index]
        return row.get("text") or row.get("label") or ""

    def caption(self, index: int) -> str:
        return self.text(index)


class Bank:
    """Clips of one file: concatenated int16 samples, with lengths, kinds and texts."""

    def __init__(self, path: Path) -> None:
        with safe_open(path, "numpy") as file:
            self._samples = file.get_tensor("samples")
            self._ends = file.get_tensor("ends")
            listed = json.loads(file.metadata()["clips"])
            captions = json.loads(file.metadata().get("captions", "[]"))
        self.kinds: list[str] = listed["kinds"]
        self.texts: list[str] = listed["texts"]
        self.captions: list[str] = captions or [""] * len(self.texts)
        digest = hashlib.sha256(self._samples.data)
        digest.update(json.dumps(listed).encode())
        self.sha256 = digest.hexdigest()
        self.weights = torch.ones(len(self.texts))

    def __len__(self) -> int:
        return len(self.texts)

    def share(self, shares: Mapping[str, float]) -> None:
        """Set how often each kind is drawn, its clips equally; a kind without a share is not drawn."""
        counts = Counter(self.kinds)
        self.weights = torch.tensor([shares.get(kind, 0.0) / counts[kind] for kind in self.kinds])

    def samples(self, index: int) -> Samples:
        start = self._ends[index - 1] if index else 0
        samples: Samples = self._samples[start : self._ends[index]].astype(np.float32) / 32767
        return samples

    def text(self, index: int) -> str:
        return self.texts[index]

    def caption(self, index: int) -> str:
        return self.captions[index]


def write_bank(path: Path, clips: Iterable[TrainingClip]) -> Bank:
    """Write the clips to one file, which is whole once it has its name, and read it back."""
    kept = list(clips)
    samples = np.concatenate(
        [np.round(np.clip(clip.samples, -1, 1) * 32767).astype(np.int16) for clip in kept]
    )
    listed = {"kinds": [clip.kind for clip in kept], "texts": [clip.text for clip in kept]}
    ends = np.cumsum([len(clip.samples) for clip in kept])
    path.parent.mkdir(parents=True, exist_ok=True)
    # beside the list, over which the bank's hash is: the samples are the same with and without them
    captions = json.dumps([clip.caption for clip in kept])
    partial = path.with_suffix(".partial")
    save_file(
        {"samples": samples, "ends": ends}, partial, {"clips": json.dumps(listed), "captions": captions}
    )
    partial.replace(path)
    return Bank(path)


def make_clips(
    spec: BankSpec, recorded: Iterable[TrainingClip] = (), voice: NeuralVoice | None = None
) -> Iterator[TrainingClip]:
    """Yield all clips of the bank: sounds, rule-made speech, a neural voice's, then recordings."""
    for number in range(spec.sound_classes):
        kind = sound_class(spec.seed * 1_000_000 + number)
        for take in range(spec.takes):
            yield TrainingClip(kind.render(take, spec.duration), SOUND, kind.name, kind.caption)
    yield from spoken_clips(spec)
    if voice:
        yield from voice_clips(spec, voice)
    yield from recorded


def voice_clips(spec: BankSpec, voice: NeuralVoice) -> Iterator[TrainingClip]:
    """Yield phrases of a neural voice, each at a speed of its own."""
    rng = np.random.default_rng([spec.seed, 2])
    for phrase in islice(_phrases(spec, spec.voice_phrases), spec.voice_phrases):
        yield TrainingClip(voice.speak(phrase, slowness=rng.uniform(0.8, 1.25)), VOICE, phrase, phrase)


def spoken_clips(spec: BankSpec) -> Iterator[TrainingClip]:
    """Yield classes of speech: even ones are a phrase in many voices, odd ones a voice with many phrases."""
    rng = np.random.default_rng([spec.seed, 1])
    phrases = _phrases(spec)
    for number in range(spec.speech_classes):
        phrase, manner = next(phrases), draw_manner(rng)
        for _ in range(spec.takes):
            if number % 2 == 0:
                yield TrainingClip(spoken(phrase, draw_manner(rng)), SPEECH, phrase, phrase)
            else:
                said = next(phrases)
                yield TrainingClip(spoken(said, manner), SPEECH, " ".join(map(str, manner)), said)


Manner = tuple[str, int, int]
"""Voice, words per minute, pitch."""


def draw_manner(rng: np.random.Generator) -> Manner:
    return VOICES[int(rng.integers(len(VOICES)))], int(rng.integers(120, 220)), int(rng.integers(10, 90))


def spoken(phrase: str, manner: Manner) -> Samples:
    voice, speed, pitch = manner
    return speak(phrase, voice=voice, speed=speed, pitch=pitch)


def _phrases(spec: BankSpec, more: int = 0) -> Iterator[str]:
    """Yield phrases of a few plain words."""
    words = read_word_list()
    plain = {word for listed in words.values() for word in listed}
    count = spec.speech_classes * (spec.takes + 1) + more
    for line in sentences(words, spec.seed, count=max(1000, 4 * count)):
        spoken_words = [word for word in line.split() if word in plain][:WORDS_PER_PHRASE]
        if len(spoken_words) == WORDS_PER_PHRASE:
            yield " ".join(spoken_words)


def draw_crops(
    clips: Clips, generator: torch.Generator, batch: int, num_samples: int
) -> tuple[Tensor, Drawn]:
    """Draw random crops (batch, 1, num_samples) and where they are from; a short clip is padded at random."""
    numbers = torch.multinomial(clips.weights, batch, replacement=True, generator=generator).tolist()
    crops = [_crop(torch.from_numpy(clips.samples(index)), generator, num_samples) for index in numbers]
    drawn = Drawn(numbers, [start for _, start in crops], [1.0] * batch)
    return torch.stack([crop for crop, _ in crops]).unsqueeze(1), drawn


def _crop(samples: Tensor, generator: torch.Generator, num_samples: int) -> tuple[Tensor, int]:
    slack = len(samples) - num_samples
    offset = int(torch.randint(abs(slack) + 1, (1,), generator=generator))
    if slack >= 0:
        return samples[offset : offset + num_samples], offset
    return functional.pad(samples, (offset, -slack - offset)), -offset


def augment(crops: Tensor, generator: torch.Generator) -> tuple[Tensor, list[float]]:
    """Vary speed (and pitch) and level, and mix a third of the crops with another one.

    (B, 1, T) in and out, with the speed of each. The neighbor in the batch is the noise, 0 to 20 dB below.
    """
    rows = [_change_speed(crop, generator) for crop in crops]
    changed = torch.stack([row for row, _ in rows])
    behind = (torch.rand(len(changed), 1, 1, generator=generator) < 1 / 3) * _decibels(
        len(changed), -20, 0, generator
    )
    power = changed.square().mean(-1, keepdim=True).clamp(min=1e-8).sqrt()
    mixed = changed + behind * power * (changed / power).roll(1, 0)
    peak = mixed.abs().amax(-1, keepdim=True).clamp(min=1e-3)
    levels = _decibels(len(changed), -26, 0, generator)
    return mixed / peak * 0.95 * levels, [speed for _, speed in rows]


def _decibels(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    gain: Tensor = 10 ** ((low + (high - low) * torch.rand(count, 1, 1, generator=generator)) / 20)
    return gain


def _change_speed(crop: Tensor, generator: torch.Generator) -> tuple[Tensor, float]:
    """Resample (1, T) to (1, T), up to a seventh faster or slower, and return the speed."""
    length = crop.shape[-1]
    ratio = float(0.86 + 0.3 * torch.rand(1, generator=generator))
    stretched = functional.interpolate(crop.unsqueeze(0), size=round(length * ratio), mode="linear").squeeze(
        0
    )
    return functional.pad(stretched, (0, max(0, length - stretched.shape[-1])))[..., :length], 1 / ratio


def recorded_clips(root: Path, sets: Sequence[str], reader: Reader) -> Iterator[TrainingClip]:
    """Yield the clips of ROOT/<set>/dev/manifest.jsonl; each row's path is relative to ROOT."""
    for name in sets:
        lines = (root / name / "dev" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        for row in map(json.loads, lines):
            said = row["labels"].get("text") or ""
            yield TrainingClip(reader(str(root / row["path"])), name, said or row["speaker"], said)
