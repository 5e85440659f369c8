"""Makes `import torchaudio` work beside a torch that has no CUDA libraries.

Import torchaudio from here, and import this module before transformers, which imports torchaudio when it is
installed. torchaudio's wheel is linked against CUDA, so beside CPU torch its compiled extension
cannot be loaded (OSError), and beside another CUDA version it refuses to be (RuntimeError). What this
project uses of it is plain Python, so the extension is declared absent and the import tried again.
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
