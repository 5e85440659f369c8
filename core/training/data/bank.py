"""Clips of known classes as codes, for few-shot episodes.

The samples come from the bank of the codec's training (core.training.data.clips). This module only encodes
them and keeps the codes by class, so that another codec needs no new samples.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from core.codec import LLMCodec
from core.codec.clip_encoder import encode_clip_codes
from core.tokens.clip_codes import CODES_PER_BLOCK, ClipCodes
from core.training.data.clips import Bank

LAYERS = ("semantic", "acoustic1", "acoustic2")
ENCODE_BATCH_SIZE = 64


@dataclass(frozen=True)
class TokenBank:
    """Encoded clips with a kind (sound, speech, or a recorded set) and a class name each."""

    clips: tuple[ClipCodes, ...]
    kinds: tuple[str, ...]
    names: tuple[str, ...]

    def classes(self, smallest: int) -> dict[str, list[list[int]]]:
        """Return for each kind its classes of at least `smallest` clips, as clip numbers."""
        members: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number, key in enumerate(zip(self.kinds, self.names, strict=True)):
            members[key].append(number)
        classes: dict[str, list[list[int]]] = defaultdict(list)
        for (kind, _), numbers in members.items():
            if len(numbers) >= smallest:
                classes[kind].append(numbers)
        return dict(classes)

    def only(self, numbers: Sequence[int]) -> "TokenBank":
        """Return the clips with these numbers."""
        return TokenBank(
            tuple(self.clips[number] for number in numbers),
            tuple(self.kinds[number] for number in numbers),
            tuple(self.names[number] for number in numbers),
        )


def merge_banks(banks: Sequence[TokenBank]) -> TokenBank:
    """Join several banks into one."""
    return TokenBank(
        tuple(clip for bank in banks for clip in bank.clips),
        tuple(kind for bank in banks for kind in bank.kinds),
        tuple(name for bank in banks for name in bank.names),
    )


def token_bank(path: Path, bank: Bank, codec: LLMCodec) -> TokenBank:
    """Return the bank's codes, encoded once for this codec and kept in the folder `path`."""
    file = path / f"codes-{bank.sha256[:12]}-{codec.fingerprint[:12]}.safetensors"
    if not file.exists():
        path.mkdir(parents=True, exist_ok=True)
        _write(file, list(_encode_bank(bank, codec)))
    return TokenBank(tuple(_read(file)), tuple(bank.kinds), tuple(bank.texts))


def _encode_bank(bank: Bank, codec: LLMCodec) -> Iterator[ClipCodes]:
    for start in tqdm(range(0, len(bank), ENCODE_BATCH_SIZE), desc="encode", unit="batch"):
        numbers = range(start, min(start + ENCODE_BATCH_SIZE, len(bank)))
        yield from encode_clip_codes(codec, [bank.samples(number) for number in numbers])


def _write(file: Path, clips: list[ClipCodes]) -> None:
    layers = zip(LAYERS, zip(*(clip.layers for clip in clips), strict=True), strict=True)
    arrays = {name: np.concatenate(of_clips) for name, of_clips in layers}
    arrays["levels"] = np.concatenate([clip.levels for clip in clips])
    blocks = json.dumps([clip.num_blocks for clip in clips])
    partial = file.with_suffix(".partial")
    save_file(arrays, partial, {"blocks": blocks})
    partial.rename(file)


def _read(file: Path) -> Iterator[ClipCodes]:
    with safe_open(file, "numpy") as stored:
        arrays = [stored.get_tensor(name) for name in (*LAYERS, "levels")]
        blocks = json.loads(stored.metadata()["blocks"])
    ends = np.cumsum(blocks)
    for start, end in zip(ends - blocks, ends, strict=True):
        counts = (*CODES_PER_BLOCK, CODES_PER_BLOCK[0])
        *layers, levels = (array[start * n : end * n] for array, n in zip(arrays, counts, strict=True))
        yield ClipCodes(tuple(layers), levels)
