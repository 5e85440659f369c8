"""What the benchmarks of generation share: the models, clips as demonstrations, answers as audio."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.audio.denoiser import Denoiser
from core.codec.clip_encoder import encode_clip_codes
from core.codec.files.opening import AnyCodec
from core.in_context.audio_generator import AudioGenerator, Decoding
from core.llama.model import FrozenLlama
from core.prompts.generation import INSTRUCTIONS, Example, GenerationTask
from core.tokens.clip_codes import CODES_PER_BLOCK, AudioCodes, ClipCodes
from core.tokens.vocabulary import Vocabulary
from core.tokens.window import WindowCodes, cut_window, loudest_window
from flows.pipeline.runtime.resources import Runtime

GREEDY = Decoding()


@dataclass(frozen=True, eq=False)
class Models:
    """The models of the settings that answer with audio."""

    codec: AnyCodec
    llama: FrozenLlama
    vocabulary: Vocabulary
    denoiser: Denoiser | None = None

    @classmethod
    def of(cls, runtime: Runtime) -> "Models":
        """End the program where no LLM is set that answers with audio."""
        if (llm := runtime.audio_llm) is None:
            sys.exit("no LLM is set that answers with audio: let WORDWAVE_GENERATION_LLM name one")
        return cls(runtime.codec, llm.llama, llm.vocabulary, runtime.denoiser)

    def encode(self, waveform: Tensor) -> ClipCodes:
        """Return the codes of a clip, (1, 1, T)."""
        (codes,) = encode_clip_codes(self.codec, [waveform[0, 0].numpy()])
        return codes

    def decode(self, layers: Iterable[Iterable[int]], seed: int = 0) -> Tensor:
        """Return the audio of three layers of codes, (T,)."""
        codes = [torch.tensor([list(layer)], dtype=torch.int64) for layer in layers]
        return self.codec.decode(codes, [seed])[0, 0]

    def generator(
        self,
        task: GenerationTask,
        examples: Sequence[Example],
        *,
        repeats: int = 0,
        decoding: Decoding = GREEDY,
    ) -> AudioGenerator:
        """Return the LLM with a prompt, the task's own instruction before it."""
        return AudioGenerator(
            self.llama,
            self.vocabulary,
            task,
            examples,
            instruction=INSTRUCTIONS[task],
            repeats=repeats,
            decoding=decoding,
        )


def loudest(clip: ClipCodes, blocks: int) -> WindowCodes:
    """Return the loudest stretch of so many blocks, as the flows show a demonstration."""
    width = CODES_PER_BLOCK[0] * blocks
    return cut_window(clip, loudest_window(clip.levels, width), width)


def audio_codes(window: WindowCodes) -> AudioCodes:
    """Return a stretch as an answer would give it."""
    semantic, acoustic1, acoustic2 = (tuple(layer.tolist()) for layer in window.layers)
    return semantic, acoustic1, acoustic2


def as_clip(layers: Iterable[Iterable[int]]) -> ClipCodes:
    """Codes as a clip whose levels nobody asks for."""
    arrays = tuple(np.array(list(layer), np.int16) for layer in layers)
    return ClipCodes(arrays, np.zeros(len(arrays[0]), np.int16))
