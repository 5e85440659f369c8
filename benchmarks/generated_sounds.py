"""Sounds: demonstrations of a few classes stand in the prompt, each class is asked for, and tokens judge.

The judge names the class of the nearest other clip by the code histograms of all three layers. Other clips
may be of a demonstration's freesound session: of some classes there is no other session.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.audio_answers import Models, as_clip, loudest
from benchmarks.means import Mean, mean_of
from benchmarks.recorded import manifest, verdict, waveforms
from core.in_context.audio_generator import AudioQuery
from core.in_context.baselines import similarities
from core.prompts.generation import Example
from core.tokens.clip_codes import ClipCodes

BLOCKS = 4
WAYS, SHOTS = 4, 2
EPISODES = 25
BAR = 60.0
SEED = 2026


@dataclass(frozen=True, eq=False)
class Sound:
    """A clip's loudest stretch of BLOCKS and its class, in words."""

    text: str
    codes: ClipCodes


@dataclass(frozen=True, eq=False)
class Episode:
    """What a prompt shows, SHOTS of each of its texts in turn, and the other clips of these classes."""

    texts: list[str]
    shown: list[Sound]
    others: list[Sound]


@dataclass(frozen=True)
class Sounds:
    """The shares that are judged to be of the class that was asked for, by prompts."""

    answer: Mean
    copy: Mean


def measure_sounds(models: Models, root: Path) -> Sounds:
    """EPISODES prompts, each asked for every class that it shows."""
    drawn = episodes(recorded_sounds(models, root))
    answers = [hits(one, one.texts, answered(models, one)) for one in drawn]
    copies = [hits(one, [s.text for s in one.shown], [s.codes for s in one.shown]) for one in drawn]
    return Sounds(_by_prompt(answers), _by_prompt(copies))


def sound_lines(sounds: Sounds) -> Iterator[str]:
    """Yield the lines to print."""
    yield f"Sounds: judged to be of the class that was asked for, percent (chance {100 / WAYS:.0f})"
    yield f"  copy of a demonstration           {sounds.copy.percent} ({sounds.copy.clips} clips)"
    yield f"  answer                            {sounds.answer.percent} ({sounds.answer.clips} clips)"
    reached = 100 * sounds.answer.mean
    yield f"  answer: {reached:.1f} of {BAR:g} {verdict(reached >= BAR)}"


def recorded_sounds(models: Models, root: Path) -> list[Sound]:
    """Return the set of sounds."""
    rows = waveforms(root, manifest(root, "sound_events"), models.codec.config.sample_rate)
    return [
        Sound(
            str(row["labels"]["event"]).replace("_", " "),
            as_clip(loudest(models.encode(waveform), BLOCKS).layers),
        )
        for row, waveform in rows
    ]


def episodes(sounds: Sequence[Sound]) -> list[Episode]:
    """Classes and demonstrations at random."""
    rng, texts = random.Random(SEED), sorted({sound.text for sound in sounds})
    return [_episode(sounds, rng.sample(texts, WAYS), rng) for _ in range(EPISODES)]


def answered(models: Models, episode: Episode) -> list[ClipCodes]:
    """Return the answer to each text."""
    shown = [Example(sound.text, loudest(sound.codes, BLOCKS)) for sound in episode.shown]
    queries = [AudioQuery(text, BLOCKS) for text in episode.texts]
    return [as_clip(codes) for codes in models.generator("sound", shown).generate(queries)]


def hits(episode: Episode, wanted: Sequence[str], clips: Sequence[ClipCodes]) -> list[bool]:
    """Return whether the nearest other clip of each is of the wanted class."""
    nearest = similarities(clips, [sound.codes for sound in episode.others]).argmax(axis=1)
    heard = [episode.others[at].text for at in nearest]
    return [a == b for a, b in zip(heard, wanted, strict=True)]


def _episode(sounds: Sequence[Sound], texts: list[str], rng: random.Random) -> Episode:
    of_text = {text: [sound for sound in sounds if sound.text == text] for text in texts}
    taken = {text: rng.sample(clips, len(clips)) for text, clips in of_text.items()}
    shown = [taken[text][shot] for shot in range(SHOTS) for text in texts]
    return Episode(texts, shown, [sound for clips in taken.values() for sound in clips[SHOTS:]])


def _by_prompt(by_prompt: Sequence[Sequence[bool]]) -> Mean:
    prompts = np.repeat(np.arange(len(by_prompt)), [len(one) for one in by_prompt])
    return mean_of([hit for one in by_prompt for hit in one], prompts.tolist())
