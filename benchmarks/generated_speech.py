"""Speech: one speaker's digits stand in the prompt, digits are asked for, and a judge hears the answers."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.audio_answers import GREEDY, Models, audio_codes, loudest
from benchmarks.judges.dnsmos import Dnsmos
from benchmarks.listening import BLOCKS, WORDS, Digit, Heard, Listener, Said, recorded_digits
from benchmarks.means import Mean, mean_of
from benchmarks.recorded import verdict
from core.errors import PromptError
from core.evaluation.whisper import MISSING, Whisper
from core.in_context.audio_generator import AudioGenerator, AudioQuery, Decoding
from core.prompts.generation import Example
from core.tokens.clip_codes import AudioCodes

PROMPTS = 5
"""Of each speaker, no two with the same take of a digit."""
WARM = 0.7
BAR = 70.0
SEED = 2026
GREEDILY, COPIED, ROUND_TRIP = "greedy", "copy of the demonstration", "codec round trip (ceiling)"

PAPER_DIGITS, PAPER_SHOTS, PAPER_PROMPTS = WORDS[:4], 5, 2
PAPER = "paper (LLAMA 2 7B, FSDD): ACC 70 (14 of 20 queries, judged in a way it does not state), DNSMOS 2.92"
QUESTIONS = {
    "1+1": "two",
    "1+2": "three",
    "2+2": "four",
    "5-1": "four",
    "5-2": "three",
    "1-1": "zero",
    "0*2": "zero",
    "2*2": "four",
    "1/1": "one",
    "2/1": "two",
    "4/2": "two",
    "the square root of 4": "two",
    "the square root of 1": "one",
    "the last digit of 110": "zero",
    "the first digit of 110": "one",
    "the sum of 1+1+1": "three",
    "the next digit of 4": "five",
    "sequence 0,1,2,3 what is next?": "four",
    "sequence 4,3,2,1 what is next?": "zero",
    "how many days in a week": "seven",
}
"""The paper's queries and their answers (PAPER.md 3.3)."""

Prompt = Mapping[str, Sequence[Digit]]
"""By text what is shown of it, all of one speaker."""
SAME = dict(zip(WORDS, WORDS, strict=True))
NUMERALS = {word: str(number) for number, word in enumerate(WORDS)}
MOVED = dict(zip(WORDS, (*WORDS[1:], WORDS[0]), strict=True))
"""Under which name each text stands in a prompt: its own, its numeral, or that of another digit."""


@dataclass(frozen=True)
class Answered:
    """What was heard of the answers to a question, one for each speaker; or why not."""

    question: str
    answer: str
    heard: tuple[str, ...]
    refused: str = ""

    def __str__(self) -> str:
        return f"  {self.question:<34}{self.answer:<8}{self.refused or ', '.join(self.heard)}"


@dataclass(frozen=True)
class Speech:
    """Plain requests by kind of clip, and the share of codes that greedy answers take from the demonstration;
    requests under moved names; the paper's setting."""

    plain: list[Heard]
    copied: Mean
    moved: list[Heard]
    paper: list[Heard]
    questions: list[Answered]


def measure_speech(models: Models, root: Path, dnsmos: Dnsmos | None, whisper: Whisper | None) -> Speech:
    """Everything that is said of digits."""
    digits = recorded_digits(root, models)
    listener = Listener(models, digits, dnsmos, whisper)
    shown = prompts(digits, WORDS, 1, PROMPTS)
    greedy, warm = answers(models, shown, SAME), answers(models, shown, SAME, Decoding(WARM))
    kinds = {COPIED: demonstrated(shown), GREEDILY: greedy, f"temperature {WARM:g}": warm}
    plain = recorded(models, digits) | {name: decoded(models, shown, codes) for name, codes in kinds.items()}
    as_paper = prompts(digits, PAPER_DIGITS, PAPER_SHOTS, PAPER_PROMPTS)
    paper = decoded(models, as_paper, answers(models, as_paper, NUMERALS))
    return Speech(
        [listener.hear(name, said, ask_whisper=True) for name, said in plain.items()],
        copying(shown, greedy),
        moved(models, shown, listener),
        [listener.hear("greedy, digits 0 to 3, 5 of each", paper)],
        questions(models, as_paper[::PAPER_PROMPTS], listener),
    )


def speech_lines(speech: Speech) -> Iterator[str]:
    """Yield the lines to print."""
    yield "Speech: heard as the digit that was asked for, percent (chance 10)"
    yield from map(str, speech.plain)
    right = {one.name: 100 * one.right.mean for one in speech.plain}
    yield f"  greedy: {right[GREEDILY]:.1f} of {BAR:g} {verdict(right[GREEDILY] >= BAR)}"
    if whisper := {one.name: 100 * one.by_whisper.mean for one in speech.plain if one.by_whisper}:
        said, bar = whisper[GREEDILY], whisper[ROUND_TRIP]
        yield f"  greedy, by Whisper: {said:.1f} of {bar:.1f} {verdict(said >= bar)}"
    else:
        yield f"  {MISSING}"
    yield f"  codes as in the demonstration, greedy{speech.copied.percent}"
    yield "Speech with each digit shown under another's name"
    yield from map(str, speech.moved)
    yield f"Speech as the paper asks, heard once for each speaker; {PAPER}"
    yield from map(str, speech.paper)
    yield from map(str, speech.questions)
    hits = [said == one.answer for one in speech.questions for said in one.heard]
    yield f"  right: {sum(hits)} of {len(hits)} (no bar: a small LLaMA knows no arithmetic)"


def prompts(digits: Sequence[Digit], texts: Sequence[str], shots: int, count: int) -> list[Prompt]:
    """`count` prompts of each speaker out of held-out takes; no take of a digit is in two of them."""
    rng, drawn = random.Random(SEED), list[Prompt]()
    for speaker in sorted({digit.speaker for digit in digits}):
        takes = [digit for digit in digits if digit.held_out and digit.speaker == speaker]
        by_text = {text: [digit for digit in takes if digit.text == text] for text in texts}
        shuffled = {text: rng.sample(of_text, shots * count) for text, of_text in by_text.items()}
        starts = range(0, shots * count, shots)
        drawn += [{t: of_text[at : at + shots] for t, of_text in shuffled.items()} for at in starts]
    return drawn


def generator(
    models: Models, prompt: Prompt, names: Mapping[str, str], decoding: Decoding = GREEDY
) -> AudioGenerator:
    """Show the digits of a prompt under their names, in an order of their own."""
    pairs = [(names[text], digit) for text, digits in prompt.items() for digit in digits]
    examples = [Example(name, loudest(digit.codes, BLOCKS)) for name, digit in pairs]
    random.Random(SEED).shuffle(examples)
    return models.generator("speech", examples, decoding=decoding)


def answers(
    models: Models, shown: Sequence[Prompt], names: Mapping[str, str], decoding: Decoding = GREEDY
) -> list[list[AudioCodes]]:
    """For each prompt the codes of each of its texts, asked by its name."""
    return [
        generator(models, prompt, names, decoding).generate(
            [AudioQuery(names[text], BLOCKS, number * len(WORDS) + at) for at, text in enumerate(prompt)]
        )
        for number, prompt in enumerate(shown)
    ]


def decoded(models: Models, shown: Sequence[Prompt], codes: Sequence[Sequence[AudioCodes]]) -> Said:
    """Answers, or other codes of each text of each prompt, as they sound."""
    said = Said()
    for number, (prompt, of_prompt) in enumerate(zip(shown, codes, strict=True)):
        for text, layers in zip(prompt, of_prompt, strict=True):
            said.add(models.decode(layers), text, number)
    return said


def demonstrated(shown: Sequence[Prompt]) -> list[list[AudioCodes]]:
    """For each prompt the codes of the first demonstration of each text."""
    return [[audio_codes(loudest(digits[0].codes, BLOCKS)) for digits in prompt.values()] for prompt in shown]


def copying(shown: Sequence[Prompt], said: Sequence[Sequence[AudioCodes]]) -> Mean:
    """Return the share of codes that are those of the demonstration at the same place."""
    pairs = [
        (number, np.concatenate(one) == np.concatenate(other))
        for number, both in enumerate(zip(said, demonstrated(shown), strict=True))
        for one, other in zip(*both, strict=True)
    ]
    return mean_of([equal.mean() for _, equal in pairs], [number for number, _ in pairs])


def moved(models: Models, shown: Sequence[Prompt], listener: Listener) -> list[Heard]:
    """Return whether answers follow the prompt or what the LLM learned of the names."""
    said = decoded(models, shown, answers(models, shown, MOVED))
    by_name = Said(said.waveforms, [MOVED[text] for text in said.wanted], said.sources)
    return [listener.hear("heard as shown", said), listener.hear("heard as named", by_name)]


def recorded(models: Models, digits: Sequence[Digit]) -> dict[str, Said]:
    """Held-out digits as they are, and after the codec."""
    real, decoded = Said(), Said()
    for number, digit in enumerate(digit for digit in digits if digit.held_out):
        real.add(digit.waveform, digit.text, number)
        decoded.add(models.decode(digit.codes.layers), digit.text, number)
    return {"recorded": real, ROUND_TRIP: decoded}


def questions(models: Models, shown: Sequence[Prompt], listener: Listener) -> list[Answered]:
    """Return the paper's queries, asked with each prompt."""
    generators = [generator(models, prompt, NUMERALS) for prompt in shown]
    return [question(models, generators, text, answer, listener) for text, answer in QUESTIONS.items()]


def question(
    models: Models, generators: Sequence[AudioGenerator], text: str, answer: str, listener: Listener
) -> Answered:
    """Return what the judge hears in the answers to one question."""
    try:
        codes = [one.generate([AudioQuery(text, BLOCKS)])[0] for one in generators]
    except PromptError as error:
        return Answered(text, answer, (), str(error))
    return Answered(text, answer, tuple(listener.judge.recognize([models.decode(one) for one in codes])))
