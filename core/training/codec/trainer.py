"""Training of a codec from a configuration: `python -m core.training.codec.trainer CONFIG OUT [DATA]`.

OUT gets `bank.safetensors` (the rule-made data), `checkpoint.pt`, `log.jsonl`, `samples/` and at the end
`codec/`, a directory for `LLMCodec.from_directory`. A second call resumes from the checkpoint. A prepared OUT
also has `teacher.safetensors`, and needs neither teachers, nor voices, nor recordings any more.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from core.audio.resampling import read_waveform
from core.codec.files import checkpoint
from core.codec.files.directory import read_words
from core.tokens.vocabulary import TextTokenizer
from core.training.codec.config import TeacherSource, TrainingConfig
from core.training.codec.progress import UNFINISHED, Leg, Unfinished, append_log, write_samples
from core.training.codec.start import start_from
from core.training.codec.teachers import MelTeacher, Teacher
from core.training.codec.updates import CodecTrainer
from core.training.data.clips import (
    Bank,
    ManifestClips,
    Reader,
    TrainingClip,
    make_clips,
    recorded_clips,
    write_bank,
)
from core.training.data.families import Samples
from core.training.data.neural_voice import NeuralVoice

LOG_EVERY = 50
NUM_SAMPLE_CROPS = 4
TEACHER = "teacher.safetensors"


def train_codec(
    config_path: Path,
    out: Path,
    *,
    data: Path | None = None,
    reader: Reader | None = None,
    teachers: TeacherSource | None = None,
    device: str = "cpu",
    minutes: float | None = None,
) -> Path:
    """Train to the last step and return the codec's directory.

    Args:
        data: folder of the recorded sets that the configuration names.
        reader: reads a row's path as mono samples at the codec's rate (None: files of this machine).
        teachers: others than the configuration names.
        minutes: time of this leg; Unfinished is raised when it is over before the training (None: no end).
    """
    leg = Leg(minutes)
    if teachers and (out / TEACHER).exists():
        raise ValueError(f"{out} is prepared with its teachers: name none, or prepare it again with these")
    config, here = _configuration(config_path, teachers), config_path.parent
    out.mkdir(parents=True, exist_ok=True)
    clips = read_clips(config, here, out, data, reader or file_reader(config.codec.sample_rate))
    teacher = make_teacher(config, here, clips, out, device)
    trainer = CodecTrainer(config, read_codebooks(config, here), clips, teacher, device)
    if config.start_from:
        start_from(here / config.start_from, trainer.networks)
        trainer.turn_teacher()
    run(trainer, out, leg)
    tokenizer = config.codebooks.tokenizer
    words = read_semantic_words(config, here)
    return write_codec(trainer, out / "codec", words, here / tokenizer if tokenizer else None)


def prepare(
    config_path: Path,
    out: Path,
    *,
    data: Path | None = None,
    reader: Reader | None = None,
    teachers: TeacherSource | None = None,
    device: str = "cpu",
) -> None:
    """Write to `out` all that a training reads and this project does not contain (arguments as above)."""
    from core.training.codec.prepared import check_can_prepare, write_teacher  # transformers takes seconds

    config, here = _configuration(config_path, teachers), config_path.parent
    check_can_prepare(config.teachers, config.data.manifest)
    (out / TEACHER).unlink(missing_ok=True)
    clips = read_clips(config, here, out, data, reader or file_reader(config.codec.sample_rate))
    assert isinstance(clips, Bank)
    write_teacher(out / TEACHER, make_teacher(config, here, clips, out, device), clips)


def _configuration(path: Path, teachers: TeacherSource | None) -> TrainingConfig:
    config = TrainingConfig.from_json(path)
    return replace(config, teachers=teachers) if teachers else config


def run(trainer: CodecTrainer, out: Path, leg: Leg) -> None:
    """Train to the last step, with periodic checkpoints. Raises Unfinished when the leg is over before."""
    saved = out / "checkpoint.pt"
    trainer.resume(saved)
    config = trainer.config
    with tqdm(total=config.steps, initial=trainer.step, unit="step") as bar:
        while trainer.step < config.steps:
            losses = trainer.train_step()
            bar.update()
            if trainer.step % LOG_EVERY == 0:
                append_log(out / "log.jsonl", trainer.step, losses, trainer.usage)
                usage = " ".join(f"{share:.0%}" for share in trainer.usage.share)
                bar.set_postfix({name: f"{value:.3f}" for name, value in losses.items()} | {"usage": usage})
            over = leg.is_over
            if trainer.step % config.checkpoint_every == 0 or trainer.step == config.steps:
                trainer.save(saved)
                samples = trainer.reconstruct(NUM_SAMPLE_CROPS)
                write_samples(out / "samples" / f"{trainer.step}", *samples, config.codec.sample_rate)
            elif over:
                trainer.save(saved)
            if over and trainer.step < config.steps:
                raise Unfinished(trainer.step, config.steps)


def write_codec(
    trainer: CodecTrainer, path: Path, words: tuple[str, ...] = (), tokenizer: Path | None = None
) -> Path:
    """Write the trained codec in the project's own form."""
    state = {name: tensor.cpu() for name, tensor in trainer.networks.state_dict().items()}
    checkpoint.write_directory(path, trainer.config.codec, checkpoint.canonical(state), words, tokenizer)
    return path


def read_clips(
    config: TrainingConfig, here: Path, out: Path, data: Path | None, reader: Reader
) -> Bank | ManifestClips:
    """Read the bank, building it if needed, or the rows of a manifest."""
    source = config.data
    if source.manifest:
        lines = (here / source.manifest).read_text(encoding="utf-8").splitlines()
        return ManifestClips([json.loads(line) for line in lines], reader)
    if source.bank is None:
        raise ValueError("the configuration names neither a bank nor a manifest to learn from")
    path = out / "bank.safetensors"
    if source.sets and data is None and not path.exists():
        raise ValueError(f"the recorded sets {source.sets} need a data folder: pass the one that holds them")
    recorded: Iterator[TrainingClip] = recorded_clips(data, source.sets, reader) if data else iter(())
    if path.exists():
        bank = Bank(path)
    else:
        voice = NeuralVoice(here / source.voice) if source.voice else None
        bank = write_bank(path, make_clips(source.bank, recorded, voice))
    bank.share(source.shares)
    return bank


def file_reader(sample_rate: int) -> Reader:
    """Return a reader of local audio files as mono samples at that rate."""

    def read(path: str) -> Samples:
        samples: Samples = read_waveform(path, sample_rate)[0][0, 0].numpy()
        return samples

    return read


def make_teacher(
    config: TrainingConfig, here: Path, clips: Bank | ManifestClips, out: Path, device: str
) -> Teacher:
    """Return the teachers that the configuration names, and stand-ins fitted to the clips for all others."""
    source, codec = config.teachers, config.codec
    if source.t5 and source.whisper:
        from core.training.codec.frozen_teachers import FrozenTeacher  # transformers takes seconds to import

        return FrozenTeacher(
            here / source.t5, here / source.whisper, clips, dim=codec.latent_dim, device=device
        )
    stand_in = MelTeacher(
        clips,
        len(clips.weights),
        sample_rate=codec.sample_rate,
        hop_length=codec.hop_length,
        stride=codec.vq_strides[0],
        dim=codec.latent_dim,
    )
    if (out / TEACHER).exists() and isinstance(clips, Bank):
        from core.training.codec.prepared import read_teacher

        return read_teacher(out / TEACHER, stand_in, clips, codec.latent_dim)
    if not (source.whisper or source.sentences or source.tagger):
        return stand_in
    from core.training.teachers.installed import installed_teacher

    return installed_teacher(source, here, clips, stand_in, out / "teachers", codec, device)


def read_codebooks(config: TrainingConfig, here: Path) -> list[Tensor]:
    """Return one (N, codebook_dim) table for each layer: the words', then the whole vocabulary's."""
    source, codec = config.codebooks, config.codec
    if source.embeddings is None:
        generator = torch.Generator().manual_seed(config.seed)
        return [torch.randn(size, codec.codebook_dim, generator=generator) for size in codec.codebook_sizes]
    (table,) = load_file(here / source.embeddings).values()
    words = read_semantic_words(config, here)
    first = word_vectors(table, words, TextTokenizer(here / str(source.tokenizer))) if words else table
    return [first.float(), *[table.float()] * (len(codec.codebook_sizes) - 1)]


def read_semantic_words(config: TrainingConfig, here: Path) -> tuple[str, ...]:
    """Return the word of each semantic code, or none."""
    return read_words(here / config.codebooks.words) if config.codebooks.words else ()


def word_vectors(table: Tensor, words: tuple[str, ...], tokenizer: TextTokenizer) -> Tensor:
    """Return (words, D): the mean of the vectors of each word's ids (paper, section 3.2)."""
    return torch.stack([table[tokenizer.encode(word)].mean(0) for word in words])


def main() -> int:
    """Train by the arguments of the command line, which needs no package of the flows; return its status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--minutes", type=float)
    given = parser.parse_args()
    try:
        train_codec(given.config, given.out, data=given.data, device=given.device, minutes=given.minutes)
    except Unfinished as unfinished:
        sys.stderr.write(f"{unfinished}\n")
        return UNFINISHED
    return 0


if __name__ == "__main__":
    sys.exit(main())
