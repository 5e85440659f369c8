"""The names of transformers that core uses, imported after a torchaudio that works without CUDA.

Import them from here: transformers imports torchaudio itself when it is installed.
"""

import core.audio.torchaudio_cpu  # noqa: F401

# isort: split
import transformers
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    DynamicCache,
    LlamaConfig,
    LlamaForCausalLM,
)
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, apply_rotary_pos_emb, rotate_half

__all__ = [
    "AttentionInterface",
    "AttentionMaskInterface",
    "DynamicCache",
    "DynamicLayer",
    "LlamaConfig",
    "LlamaDecoderLayer",
    "LlamaForCausalLM",
    "apply_rotary_pos_emb",
    "repeat_kv",
    "rotate_half",
    "sdpa_attention_forward",
    "sdpa_mask",
    "transformers",
]
