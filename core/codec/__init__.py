"""The LLM-Codec for inference."""

from core.codec.config import CodecConfig
from core.codec.model import EncodedClip, LLMCodec

__all__ = ["CodecConfig", "EncodedClip", "LLMCodec"]
