import subprocess
import sys

import pytest

from core.audio import torchaudio_cpu

SCRIPT = """
import core.audio.torchaudio_cpu, torchaudio, torch, transformers
from transformers import LlamaForCausalLM
assert torchaudio.functional.resample(torch.ones(441), 44_100, 16_000).shape == (160,)
"""


def test_torchaudio_and_transformers_import_behind_it() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)


def test_what_needs_the_absent_extension_says_so() -> None:
    def forced_align() -> None: ...

    extension = torchaudio_cpu._absent_extension()
    with pytest.raises(RuntimeError, match="forced_align needs torchaudio's compiled extension"):
        extension.fail_if_no_align(forced_align)()
