"""Quality of few-shot labelling by the mini models on recorded clips that they never saw.

`python -m benchmarks.quality [EPISODES [LLAMA]]` prints a table and a JSON line: the baselines, of which
nearest tokens is what answers while no language model ships; the answers of a LLaMA directory, such as a
training's OUT/llama, where one is given; and a control with shuffled demonstration labels; all on the same
episodes, the paper's figures beside. WORDWAVE_TEST_DATA names the folder of recorded sets; codec and LLaMA
trained on none of these clips.
"""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.audio import read_waveform
from core.baselines import FloatArray
from core.codec import LLMCodec
from core.codec.mel import LogMel
from core.errors import AudioRejected
from core.evaluation.episodes import LabeledClips, draw_episodes, shuffle_labels
from core.evaluation.measure import Score, score
from core.evaluation.methods import LanguageModel, Method, answer_all, baselines, nearest_tokens
from core.few_shot import FewShotSettings
from core.llama import FrozenLlama
from core.presets import preset_directory
from core.training.bank import encode_clips
from core.vocabulary import TextTokenizer, Vocabulary

EPISODES = 600
SEED = 2026
ORDERS = 4
SETS = {"sound_events": "event", "animals": "event", "emotion": "emotion"}
"""Recorded set to the label that is asked."""


@dataclass(frozen=True)
class Row:
    """`bar` and `paper` in percent. The paper's rows are LLAMA 2 7B with its own codec on other clips."""

    name: str
    set: str
    n_way: int
    k_shot: int
    bar: float
    paper: str
    separate_groups: bool = True


ROWS = (
    Row("sound events 2-way 1-shot", "sound_events", 2, 1, 73, "60 (73 with 3 repeats)"),
    Row("sound events 2-way 3-shot", "sound_events", 2, 3, 78, "57"),
    Row("sound events 3-way 1-shot", "sound_events", 3, 1, 60, "41 (50 with 3 repeats)"),
    Row("sound events 5-way 3-shot", "sound_events", 5, 3, 56, "-"),
    Row("animals 2-way 3-shot", "animals", 2, 3, 66, "-", separate_groups=False),
    Row("emotion 2-way 1-shot", "emotion", 2, 1, 66, "53"),
)

DIFFERENCES = """\
Data: the paper asks ESC-50 and ESD (English), clips cut to 1 second; it does not say in how many episodes.
Here sound events are 73 clips of 10 ESC-50 classes (5 s), animals 83 readable clips of 10 classes (web
recordings), emotion 100 clips of 7 feelings (EmoDB, German, 2 s). No demonstration is of the query's group
(freesound session, speaker); the animals have no such groups, there only the query itself is never shown."""


def read_clips(root: Path, name: str, codec: LLMCodec) -> LabeledClips:
    """A recorded set, with pooled latents and log-mel statistics; what the service rejects is left out."""
    manifest = (root / name / "dev" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    rows: list[dict[str, Any]] = []
    waveforms: list[torch.Tensor] = []
    for row in map(json.loads, manifest):
        try:
            waveforms.append(read_waveform(root / row["path"], codec.config.sample_rate)[0])
        except AudioRejected:
            continue
        rows.append(row)
    return LabeledClips(
        tuple(encode_clips(codec, (waveform[0, 0].numpy() for waveform in waveforms))),
        tuple(row["labels"][SETS[name]] for row in rows),
        tuple(row["group"] for row in rows),
        {
            "latents": np.stack([pooled_latents(codec, waveform) for waveform in waveforms]),
            "log-mel": np.stack([mel_statistics(codec, waveform) for waveform in waveforms]),
        },
    )


@torch.inference_mode()
def pooled_latents(codec: LLMCodec, waveform: torch.Tensor) -> FloatArray:
    """(2 D,) mean and deviation over time of the codec's continuous latents; waveform (1, 1, T)."""
    padded = torch.nn.functional.pad(waveform, (0, -waveform.shape[-1] % codec.config.block_length))
    latents = codec.encoder(padded)[0].double()
    return torch.cat((latents.mean(-1), latents.std(-1, correction=0))).numpy()


@torch.inference_mode()
def mel_statistics(codec: LLMCodec, waveform: torch.Tensor) -> FloatArray:
    """(3 bands,) mean, deviation and deviation of the steps of the log-mel spectrum; waveform (1, 1, T)."""
    hop = codec.config.hop_length // 2
    padded = torch.nn.functional.pad(waveform, (0, -waveform.shape[-1] % codec.config.block_length))
    mel = LogMel(codec.config.sample_rate, hop)(padded)[0].double()
    steps = mel.diff(dim=-1)
    return torch.cat((mel.mean(-1), mel.std(-1, correction=0), steps.std(-1, correction=0))).numpy()


def measure(row: Row, clips: LabeledClips, models: dict[str, Method], count: int) -> dict[str, Score]:
    """The score of every way to answer the episodes of a row."""
    separate = row.separate_groups
    episodes = draw_episodes(clips, row.n_way, row.k_shot, count, seed=SEED, separate_groups=separate)
    methods = models | dict(baselines(clips))
    scores = {name: score(answer_all(method, clips, episodes), episodes) for name, method in methods.items()}
    shuffled = shuffle_labels(episodes, seed=SEED)
    control = next(iter(models.values()), nearest_tokens)
    return scores | {"shuffled labels": score(answer_all(control, clips, shuffled), shuffled)}


def report(row: Row, scores: dict[str, Score]) -> str:
    """The lines of a row: percent, both intervals, calibration error."""
    lines = [f"{row.name}: bar {row.bar:g}, paper {row.paper}, chance {100 / row.n_way:.0f}"]
    for name, one in scores.items():
        low, high = one.episode_interval
        lowest, highest = one.clip_interval
        lines.append(
            f"  {name:<22}{100 * one.accuracy:6.1f}  [{100 * low:.1f}, {100 * high:.1f}] by episode  "
            f"[{100 * lowest:.1f}, {100 * highest:.1f}] by clip  ECE {one.ece:.3f}"
        )
    return "\n".join(lines)


def language_models(codec: LLMCodec, directory: Path | None) -> tuple[dict[str, Method], str | None]:
    """The ways to ask a LLaMA directory, and its fingerprint; nothing where none is given."""
    if directory is None:
        print(
            "No LLaMA directory was given: nearest tokens is what answers, and the shuffled control is its."
        )
        return {}, None
    llama = FrozenLlama.from_directory(directory)
    vocabulary = Vocabulary(codec.words, TextTokenizer(directory / "tokenizer.model"))
    models: dict[str, Method] = {
        "LLaMA": LanguageModel(llama, vocabulary, FewShotSettings(orders=1)),
        f"LLaMA, {ORDERS} orders": LanguageModel(llama, vocabulary, FewShotSettings(orders=ORDERS)),
    }
    return models, llama.fingerprint


def main(count: int, directory: Path | None) -> None:
    """Prints the table and the JSON line."""
    torch.set_num_threads(1)
    if not (folder := os.environ.get("WORDWAVE_TEST_DATA")):
        sys.exit("WORDWAVE_TEST_DATA is not set: it must name the folder of recorded sets")
    root = Path(folder)
    codec = LLMCodec.from_directory(preset_directory("mini-codec"))
    models, fingerprint = language_models(codec, directory)
    started, figures = time.monotonic(), {}
    clips = {name: read_clips(root, name, codec) for name in SETS}
    for row in ROWS:
        scores = measure(row, clips[row.set], models, count)
        print(report(row, scores), flush=True)
        figures[row.name] = {"bar": row.bar} | {name: asdict(one) for name, one in scores.items()}
    print(DIFFERENCES)
    models_used = {"codec": codec.fingerprint, "llama": fingerprint}
    seconds = round(time.monotonic() - started)
    print(json.dumps({"benchmark": "quality", "seconds": seconds, **models_used, "rows": figures}))


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else EPISODES,
        Path(sys.argv[2]) if len(sys.argv) > 2 else None,
    )
