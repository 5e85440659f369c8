"""A random network prepared to learn to look up answers in its prompt.

With the usual small embeddings, the first layer loses the position of an id, and it takes thousands of steps
until anything is copied. Here the embeddings are as large as the output of the layers; they share a
direction, so that attention can depend on positions alone; and the copying heads pass on the id they attend
to, in directions that only the output reads.
"""

import torch
from torch import Tensor

from core.llama.huggingface import LlamaConfig, LlamaForCausalLM
from core.training.audio_llm.losses import ASKED_LAYER, SOURCE_LAYER

SHARED_SCALE = 0.3
"""Deviation of the direction that all embeddings share; that of each one's own is 1."""

OUTPUT_SCALE = 0.25
"""Scale of the output's rows, and of the last norm: small enough that at first no id is likely."""


def answer_network(config: LlamaConfig, seed: int) -> LlamaForCausalLM:
    """Build a network with random weights from `seed`; the configuration unties output and input
    embeddings.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = LlamaForCausalLM(config)
        size, count = config.hidden_size, config.vocab_size
        own, shared = torch.randn(count, size), SHARED_SCALE * torch.randn(size)
        turned = torch.linalg.qr(torch.randn(size, size))[0]
    for layer in network.model.layers:
        layer.self_attn.o_proj.weight.data.mul_((2 * config.num_hidden_layers) ** -0.5)
        layer.mlp.down_proj.weight.data.mul_((2 * config.num_hidden_layers) ** -0.5)
    network.model.embed_tokens.weight.data = own + shared
    network.lm_head.weight.data = OUTPUT_SCALE * own @ turned
    network.model.norm.weight.data.fill_(OUTPUT_SCALE)
    half = config.num_attention_heads // 2 * config.head_dim
    _copy(network, ASKED_LAYER, slice(half, None), turned)
    _copy(network, SOURCE_LAYER, slice(half), turned)
    return network


def _copy(network: LlamaForCausalLM, layer: int, part: slice, turned: Tensor) -> None:
    """Make the value rows `part` of a layer pass on the id they attend to, in directions read by the
    output.
    """
    attention = network.model.layers[layer].self_attn
    values = torch.linalg.qr(attention.v_proj.weight.data[part].T)[0].T  # (N, C), orthonormal
    attention.v_proj.weight.data[part] = values
    attention.o_proj.weight.data[:, part] = (values @ turned).T
