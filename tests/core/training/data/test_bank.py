from pathlib import Path

import numpy as np

from core.codec import LLMCodec
from core.codec.clip_encoder import encode_clip_codes
from core.presets import preset_directory
from core.training.data.bank import token_bank
from core.training.data.clips import BankSpec, make_clips, write_bank


def test_a_bank_is_encoded_once_and_keeps_its_classes(tmp_path: Path) -> None:
    codec = LLMCodec.from_directory(preset_directory("mini-codec"))
    bank = write_bank(tmp_path / "bank.safetensors", make_clips(BankSpec(3, 0, 2, 0.5, 1)))
    first = token_bank(tmp_path, bank, codec)
    (file,) = tmp_path.glob("codes-*")
    written = file.stat().st_mtime_ns
    again = token_bank(tmp_path, bank, codec)
    assert file.stat().st_mtime_ns == written
    alone = encode_clip_codes(codec, [bank.samples(number) for number in range(6)])
    for one, other, encoded in zip(first.clips, again.clips, alone, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.layers, other.layers, strict=True))
        assert all(np.array_equal(a, b) for a, b in zip(one.layers, encoded.layers, strict=True))
        assert np.array_equal(one.levels, encoded.levels)
        assert encoded.latent is not None
        assert one.latent is None
    assert {kind: sorted(map(len, numbers)) for kind, numbers in first.classes(2).items()} == {
        "sound": [2, 2, 2]
    }
