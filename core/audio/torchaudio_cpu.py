"""An import of torchaudio that also works with a torch built without CUDA.

Import torchaudio from here, and import this module before transformers, which imports torchaudio when it is
installed. The torchaudio wheel is linked against CUDA: its compiled extension cannot be loaded with a CPU
build of torch (OSError), nor with another CUDA version (RuntimeError). This project uses only the plain
Python parts, so the extension is declared absent and the import is repeated.
"""

import sys
import types
from collections.abc import Callable
from typing import Any


def _needs_extension(function: Callable[..., Any]) -> Callable[..., Any]:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError(
            f"{function.__name__} needs torchaudio's compiled extension, which is not loadable here"
        )

    return refuse


def _absent_extension() -> types.ModuleType:
    extension = types.ModuleType("torchaudio._extension")
    extension.__dict__.update(
        __path__=[],
        _IS_TORCHAUDIO_EXT_AVAILABLE=False,
        _IS_ALIGN_AVAILABLE=False,
        _check_cuda_version=lambda: None,
        fail_if_no_align=_needs_extension,
    )
    return extension


def _forget_torchaudio() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
        del sys.modules[name]


__all__ = ["torchaudio"]

try:
    import torchaudio
except (OSError, RuntimeError):
    _forget_torchaudio()
    sys.modules["torchaudio._extension"] = _absent_extension()
    import torchaudio
