"""Commands on models: convert and train them, and switch between them."""

from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from flows.cli.output import echo_json, runtime_for

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
EXISTING = click.Path(exists=True, path_type=Path)
CONFIG = click.argument("config", type=FILE)
OUTPUT = click.argument("output", type=click.Path(path_type=Path))
MORE_DATA = click.option("--data", type=EXISTING, help="Folder of additional real audio.")


@click.group()
def models() -> None:
    """Convert model files."""


@models.command()
@click.argument("checkpoint", type=FILE)
@OUTPUT
@click.option("--words", type=EXISTING, help="layer1.npy, or a text file with one word per line.")
@click.option("--llama-embeddings", type=EXISTING, help="embed_llama2.pt")
@click.option("--word-embeddings", type=EXISTING, help="layer1.pth")
@click.option("--tokenizer", type=EXISTING, help="Tokenizer of LLAMA 2, which gives SQL the words.")
@click.option("--config", type=EXISTING, help="config.json of a codec with another shape.")
@click.option(
    "--first-codebook",
    type=click.Choice(["words", "llama"]),
    default="words",
    show_default=True,
    help="llama: the other published checkpoint, whose semantic layer has 32,000 rows.",
)
def convert(checkpoint: Path, output: Path, first_codebook: Any, config: Path | None, **files: Any) -> None:
    """Convert the released LLM-Codec files to a directory with a fingerprint."""
    from core.codec import CodecConfig
    from core.codec.files.convert import ReleasedFiles
    from core.codec.files.convert import convert as convert_files

    shape = CodecConfig.from_json(config) if config else CodecConfig()
    files_given = ReleasedFiles(checkpoint, **files)
    codec = convert_files(files_given, output, config=shape, first=first_codebook)
    echo_json({"directory": str(output), "fingerprint": codec.fingerprint})


@models.command("convert-embedding")
@click.argument("file", type=FILE)
@OUTPUT
@click.option(
    "--model", type=click.Choice(["yamnet"]), default="yamnet", show_default=True, help="Which model."
)
@click.option(
    "--classes", type=FILE, help="CSV with display_name, or one name per line. Default: the one of the wheel."
)
@click.option(
    "--hop",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds from one window to the next. Default: the model's own (yamnet: 0.48).",
)
def convert_embedding_command(
    file: Path, output: Path, model: str, classes: Path | None, hop: float | None
) -> None:
    """Convert FILE to the directory of an embedding model.

    FILE is an ONNX network, or a wheel that contains one.
    """
    from core.embeddings.convert import convert_embedding
    from core.embeddings.recipes import RECIPES

    converted = convert_embedding(file, output, RECIPES[model], classes=classes, hop=hop)
    description = converted.description
    echo_json(
        {
            "directory": str(output),
            "fingerprint": description.fingerprint,
            "dimensions": description.dimensions,
            "classes": len(description.classes),
            "license": description.license,
            "embedding_cosine": round(converted.embedding_cosine, 4),
            "scores_cosine": round(converted.scores_cosine, 4),
        }
    )


@models.command("convert-voice")
@click.argument("file", type=FILE)
@OUTPUT
def convert_voice_command(file: Path, output: Path) -> None:
    """Convert FILE to the directory of an embedding that tells voices apart.

    FILE is a speaker encoder's pickle of weights, or a wheel that contains one, such as Resemblyzer's. The
    pickle is read in a process of its own.
    """
    from core.embeddings.voice import convert_voice

    described = convert_voice(file, output)
    echo_json(
        {
            "directory": str(output),
            "fingerprint": described.fingerprint,
            "dimensions": described.dimensions,
            "license": described.license,
        }
    )


@models.command("convert-whisper")
@OUTPUT
@click.option(
    "--source",
    type=FOLDER,
    help="Directory of a CTranslate2 Whisper. Default: the one of wordwave[judge].",
)
def convert_whisper_command(output: Path, source: Path | None) -> None:
    """Convert a CTranslate2 Whisper to a directory that trainings read as a teacher."""
    from core.evaluation.whisper import packaged_whisper
    from core.training.teachers.whisper_weights import convert_whisper

    with packaged_whisper() if source is None else nullcontext(source) as found:
        written = convert_whisper(found, output)
    echo_json({"directory": str(output), **asdict(written)})


@models.command("convert-codec")
@click.argument("folder", type=FOLDER)
@OUTPUT
@click.option("--layers", type=click.IntRange(min=1), help="First layers to keep. Default: up to 8.")
@click.option("--words", type=FILE, help="Text file: a word for each code of the first layer, one a line.")
def convert_codec_command(folder: Path, output: Path, layers: int | None, words: Path | None) -> None:
    """Convert FOLDER, an EnCodec, DAC, Mimi or X-Codec 2 of transformers, to a codec's directory."""
    from core.codec.rvq.convert import convert_codec

    codec = convert_codec(folder, output, layers=layers, words=words)
    sizes = list(codec.config.codebook_sizes)
    echo_json({"directory": str(output), "fingerprint": codec.fingerprint, "codebook_sizes": sizes})


@models.command("convert-llm")
@click.argument("file", type=FILE)
@OUTPUT
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
    help="Type of the written weights.",
)
def convert_llm_command(file: Path, output: Path, dtype: Any) -> None:
    """Convert FILE, a GGUF of a LLaMA-like LLM, to a directory that WORDWAVE_LLM can name.

    Quantized weights are written as plain numbers, with their values. This needs wordwave[gguf].
    """
    from core.llama.convert import convert_llm

    echo_json({"directory": str(output), **asdict(convert_llm(file, output, dtype))})


@click.group()
def train() -> None:
    """Train your own models. The shipped ones were made with these commands."""


@train.command("codec")
@CONFIG
@OUTPUT
@MORE_DATA
@click.option("--whisper", type=FOLDER, help="Teacher of frames, as models convert-whisper writes it.")
@click.option("--sentences", type=FOLDER, help="Teacher of what is said: a sentence encoder's directory.")
@click.option(
    "--tagger", type=FOLDER, help="Teacher of what is heard, as models convert-embedding writes it."
)
@click.option("--device", default="cpu", show_default=True, help="Where it trains, such as cuda.")
@click.option("--minutes", type=click.FloatRange(min=0), help="Stop before so many are over.")
@click.option("--prepare", is_flag=True, help="Only write to OUTPUT what the training reads.")
def train_codec_command(
    config: Path,
    output: Path,
    data: Path | None,
    device: str,
    minutes: float | None,
    prepare: bool,
    **teachers: Path | None,
) -> None:
    """Train an LLM-Codec from CONFIG (core/training/configs). An interrupted training resumes.

    Teachers that are given replace those of CONFIG. What they say of the clips is computed once and kept in
    OUTPUT. After --prepare it can be moved to a machine without teachers, DATA and espeak-ng. The exit status
    is 75 when --minutes are over before the training: the same command goes on.
    """
    from core.training.codec import trainer
    from core.training.codec.config import TeacherSource
    from core.training.codec.progress import UNFINISHED, Unfinished

    given = {name: str(path.resolve()) for name, path in teachers.items() if path}
    source = TeacherSource(**given) if given else None
    if prepare:
        trainer.prepare(config, output, data=data, teachers=source, device=device)
        return
    try:
        trainer.train_codec(config, output, data=data, teachers=source, device=device, minutes=minutes)
    except Unfinished as unfinished:
        click.echo(unfinished, err=True)
        raise SystemExit(UNFINISHED) from None


@train.command("mini")
@CONFIG
@OUTPUT
@MORE_DATA
def train_mini_command(config: Path, output: Path, data: Path | None) -> None:
    """Train a small LLaMA on few-shot episodes, so that it learns from its prompt."""
    from core.training.label_llm.trainer import train_mini

    train_mini(config, output, data=data)


@train.command("mini-audio")
@CONFIG
@OUTPUT
@click.option("--data", type=EXISTING, required=True, help="Folder of the sets digits and speech_clean.")
def train_mini_audio_command(config: Path, output: Path, data: Path) -> None:
    """Train a small LLaMA that answers with audio. An interrupted training resumes."""
    from core.training.audio_llm.trainer import train_answers

    train_answers(config, output, data=data)


@click.command()
@click.argument("library", metavar="NAME[@VERSION]")
def promote(library: str) -> None:
    """Make the answers of the configured models the current ones.

    This switches one version of a library. The models are those of the settings.
    """
    from flows.pipeline.maintenance.upgrade import promote_models

    with runtime_for() as runtime:
        switch, _ = promote_models(runtime, library)
    echo_json(vars(switch))


@click.command()
@click.argument("codec", metavar="FINGERPRINT")
def prune(codec: str) -> None:
    """Delete the codes of a codec that is no longer used.

    This needs the rights of the database's owner. The answers stay. FINGERPRINT is that of the codec, or the
    beginning of it, as in the column codec_fingerprint.
    """
    from flows.pipeline.maintenance.upgrade import prune as prune_codec

    with runtime_for() as runtime:
        echo_json(prune_codec(runtime, codec).counts)
