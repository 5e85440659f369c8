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

from benchmarks.means import Mean, mean_of, rate_of
from benchmarks.recorded import DataRow, data_root, manifest, verdict, waveforms
from core.codec import LLMCodec
from core.evaluation.metrics import mel_distance, pesq, stoi
from core.evaluation.whisper import MISSING, Whisper, find_whisper
from core.evaluation.word_errors import word_errors, words
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


def misheard(
    codec: LLMCodec,
    read: Sequence[tuple[DataRow, Tensor]],
    codes: Sequence[list[Tensor]],
    whisper: Whisper,
) -> dict[str, Mean]:
    """Return the share of words that Whisper gets wrong in the recordings, and after the codec."""
    said = [str(row["labels"]["text"]) for row, _ in read]
    sizes = [len(words(text)) for text in said]
    recorded = [waveform for _, waveform in read]
    decoded = [codec.decode(one)[..., : clip.shape[-1]] for one, clip in zip(codes, recorded, strict=True)]
    shares = {}
    for name, clips in (("recorded", recorded), ("after the codec", decoded)):
        heard = [whisper.transcript(clip) for clip in clips]
        shares[name] = rate_of([word_errors(*pair) for pair in zip(said, heard, strict=True)], sizes)
    return shares


def main(directories: Sequence[str]) -> None:
    """Print the tables and the JSON line."""
    torch.set_num_threads(1)
    root, figures, whisper = data_root(), {}, find_whisper()
    for directory in directories:
        codec = LLMCodec.from_directory(model_directory(directory))
        rate, sets, codes, wrong = codec.config.sample_rate, {}, [], dict[str, Mean]()
        print(f"{directory} ({codec.fingerprint[:12]}): reconstruction of clips that it never saw")
        for name in SETS:
            read = waveforms(root, manifest(root, name), rate)
            sets[name], of_set = measured(codec, [waveform for _, waveform in read])
            if name == SPEECH and whisper:
                wrong = misheard(codec, read, of_set, whisper)
            codes += of_set
            for measure, mean in sets[name].items():
                print(f"  {name:<14}{measure:<18}{mean}", flush=True)
        for name, share in wrong.items():
            print(f"  words of {SPEECH} that Whisper gets wrong, {name}, percent{share.percent}", flush=True)
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
            "misheard": {name: asdict(share) for name, share in wrong.items()},
            "layers": [asdict(layer) for layer in layers],
        }
    print(PAPER if has_pesq() else f"{PAPER}\nPESQ was not measured: pip install pesq (needs a C compiler)")
    if whisper is None:
        print(MISSING)
    print(json.dumps({"benchmark": "reconstruction", "codecs": figures}))


if __name__ == "__main__":
    main(sys.argv[1:] or [Settings().codec])
