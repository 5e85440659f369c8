"""How much of a clip the codec keeps: recorded speech and sounds that it never saw, encoded and decoded.

`python -m benchmarks.reconstruction [CODEC ...]` prints a table with its bars and a JSON line, for the codec
of the settings, or for each directory that is named (such as one of plain residual quantization at equal
bitrate, to compare with). The paper's figures stand beside: other clips, so they tell the scale.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from benchmarks.judges.word_errors import MISSING, Whisper, find_whisper, word_error_rate
from benchmarks.means import Mean, mean_of
from benchmarks.recorded import DataRow, data_root, manifest, verdict, waveforms
from core.codec import LLMCodec
from core.evaluation.metrics import mel_distance, pesq, stoi
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runtime.language_model import model_directory

SPEECH = "speech_text"
SETS = (SPEECH, "sound_events")
PAPER = "the paper's codec: STOI 0.82, PESQ 2.55 on VCTK; STOI 0.52, PESQ 2.09 on ESC-50"
STOI_BAR, USAGE_BAR, PERPLEXITY_BAR = 0.80, 0.30, 100.0


@dataclass(frozen=True)
class Usage:
    """Of one layer's codes: how many there are, the share in use and the perplexity of their shares."""

    size: int
    used: float
    perplexity: float


def measured(codec: LLMCodec, clips: Sequence[Tensor]) -> tuple[dict[str, Mean], list[list[Tensor]]]:
    """Return the measures over clips (1, 1, T) and each clip's codes."""
    rate = codec.config.sample_rate
    values: dict[str, list[float | None]] = {"STOI": [], "PESQ": [], "mel distance, dB": []}
    codes = []
    for clip in clips:
        codes.append(codec.encode(clip))
        decoded = codec.decode(codes[-1])[..., : clip.shape[-1]]
        values["STOI"].append(stoi(clip, decoded, rate))
        values["mel distance, dB"].append(mel_distance(clip, decoded, rate))
        if has_pesq():
            values["PESQ"].append(pesq(clip, decoded, rate))
    kept = {name: [one for one in row if one is not None] for name, row in values.items()}
    return {name: mean_of(row) for name, row in kept.items() if row}, codes


def has_pesq() -> bool:
    """Return whether the package pesq, which needs a compiler to install, is here."""
    try:
        import pesq  # noqa: F401
    except ImportError:
        return False
    return True


def usage(codec: LLMCodec, codes: Sequence[Sequence[Tensor]]) -> list[Usage]:
    """Of each layer over all clips."""
    counted = []
    for layer, size in enumerate(codec.config.codebook_sizes):
        counts = torch.bincount(torch.cat([clip[layer].flatten() for clip in codes]), minlength=size)
        shares = counts[counts > 0] / counts.sum()
        entropy = -(shares * shares.log()).sum()
        counted.append(Usage(size, float((counts > 0).float().mean()), float(entropy.exp())))
    return counted


def bars(speech: dict[str, Mean], layers: Sequence[Usage]) -> Iterator[str]:
    """Yield each bar with what was measured."""
    reached = speech["STOI"].mean
    yield f"STOI on {SPEECH} {reached:.3f} of {STOI_BAR:.2f} {verdict(reached >= STOI_BAR)}"
    for number, layer in enumerate(layers):
        yield f"usage of layer {number} {layer.used:.0%} of {USAGE_BAR:.0%} {verdict(layer.used > USAGE_BAR)}"
    perplexity = layers[0].perplexity
    over = verdict(perplexity > PERPLEXITY_BAR)
    yield f"semantic perplexity {perplexity:.0f} of {PERPLEXITY_BAR:.0f} {over}"


def word_lines(
    codec: LLMCodec,
    read: Sequence[tuple[DataRow, Tensor]],
    codes: Sequence[list[Tensor]],
    whisper: Whisper | None,
) -> Iterator[str]:
    """Yield the share of words that Whisper gets wrong in the recordings, and after the codec."""
    if whisper is None:
        yield MISSING
        return
    said = [row["labels"]["text"] for row, _ in read]
    decoded = [codec.decode(clip) for clip in codes]
    for name, clips in (("recorded", [waveform for _, waveform in read]), ("after the codec", decoded)):
        rate = word_error_rate(said, [whisper.transcript(clip) for clip in clips])
        yield f"words that Whisper gets wrong, {name}: {rate:.1%}"


def main(directories: Sequence[str]) -> None:
    """Print the tables and the JSON line."""
    torch.set_num_threads(1)
    root, figures, whisper = data_root(), {}, find_whisper()
    for directory in directories:
        codec = LLMCodec.from_directory(model_directory(directory))
        rate, sets, codes = codec.config.sample_rate, {}, []
        print(f"{directory} ({codec.fingerprint[:12]}): reconstruction of clips that it never saw")
        for name in SETS:
            read = waveforms(root, manifest(root, name), rate)
            sets[name], of_set = measured(codec, [waveform for _, waveform in read])
            if name == SPEECH:
                print("\n".join(f"  {line}" for line in word_lines(codec, read, of_set, whisper)), flush=True)
            codes += of_set
            for measure, mean in sets[name].items():
                print(f"  {name:<14}{measure:<18}{mean}", flush=True)
        layers = usage(codec, codes)
        for number, layer in enumerate(layers):
            print(
                f"  layer {number}: {layer.used:.0%} of {layer.size} codes, perplexity {layer.perplexity:.0f}"
            )
        print("\n".join(f"  {line}" for line in bars(sets[SPEECH], layers)))
        figures[directory] = {
            "fingerprint": codec.fingerprint,
            "sets": {
                name: {measure: asdict(mean) for measure, mean in row.items()} for name, row in sets.items()
            },
            "layers": [asdict(layer) for layer in layers],
        }
    print(PAPER if has_pesq() else f"{PAPER}\nPESQ was not measured: pip install pesq (needs a C compiler)")
    print(json.dumps({"benchmark": "reconstruction", "codecs": figures}))


if __name__ == "__main__":
    main(sys.argv[1:] or [Settings().codec])
