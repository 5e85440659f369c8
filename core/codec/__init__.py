"""The LLM-Codec for inference."""

from typing import TYPE_CHECKING, Any

from core.codec.config import CodecConfig

if TYPE_CHECKING:
    from core.codec.model import EncodedClip, LLMCodec

__all__ = ["CodecConfig", "EncodedClip", "LLMCodec"]


def __getattr__(name: str) -> Any:
    """Import torch, which takes seconds, only when the model itself is used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from core.codec import model

    return getattr(model, name)
