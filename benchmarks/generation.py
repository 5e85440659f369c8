"""Quality of generated audio on recorded clips: speech that a judge hears, denoising, sounds.

`python -m benchmarks.generation [DNSMOS]` prints tables with their bars and a JSON line. The models are those
of the settings: WORDWAVE_CODEC and WORDWAVE_GENERATION_LLM. DNSMOS is Microsoft's sig_bak_ovr.onnx, which
needs the package onnxruntime. WORDWAVE_TEST_DATA names the folder of recorded sets.
"""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.audio_answers import Models
from benchmarks.denoised import denoising_lines, measure_denoising, summary
from benchmarks.denoising_methods import compare_sets, comparison_lines
from benchmarks.generated_sounds import measure_sounds, sound_lines
from benchmarks.generated_speech import measure_speech, speech_lines
from benchmarks.judges.dnsmos import Dnsmos
from benchmarks.reconstruction import has_pesq
from benchmarks.recorded import data_root
from core.evaluation.whisper import find_whisper
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runtime.resources import Runtime

NOTES = """\
Data: digits are takes 0 to 9 of 4 speakers whose other takes the small LLaMA learned from; the codec learned
from all takes and, 3 clips aside, the clean speech under the noise, so its ceilings are optimistic.
Answers hold codes alone; how they sound is bounded by the codec (ceiling). DNSMOS hears clips of 0.7 s again
and again until they are 9 s long. Denoising is of slices of 0.48 s, each with 4 pairs of other speakers."""


def main(dnsmos: Dnsmos | None) -> None:
    """Print the tables and the JSON line."""
    torch.set_num_threads(1)
    root, models, started = data_root(), Models.of(Runtime(Settings())), time.monotonic()
    speech = measure_speech(models, root, dnsmos, find_whisper())
    print("\n".join(speech_lines(speech)), flush=True)
    denoised = measure_denoising(models, root)
    print("\n".join(denoising_lines(denoised)), flush=True)
    methods = compare_sets(denoised)
    print("\n".join(comparison_lines(methods)), flush=True)
    sounds = measure_sounds(models, root)
    print("\n".join(sound_lines(sounds)), flush=True)
    print(NOTES if has_pesq() else f"{NOTES}\nPESQ was not measured: pip install pesq (needs a C compiler)")
    figures = {
        "speech": asdict(speech),
        "denoising": {
            "held_out": asdict(summary([one for one in denoised if one.held_out])),
            "all": asdict(summary(denoised)),
            "methods": {name: asdict(of_set) for name, of_set in methods.items()},
        },
        "sounds": asdict(sounds),
    }
    used = {"codec": models.codec.fingerprint, "llama": models.llama.fingerprint}
    seconds = round(time.monotonic() - started)
    print(json.dumps({"benchmark": "generation", "seconds": seconds, **used, **figures}))


if __name__ == "__main__":
    main(Dnsmos(Path(sys.argv[1])) if len(sys.argv) > 1 else None)
