"""Losses of the small LLaMA on a batch of prompts with audio answers.

The main one is on the ids of the answers. That alone learns the statistics of audio and ignores the prompt
for a long time, so four losses teach where an answer is found: half of the heads of the first layer attend to
the previous id; half of those of the second to the requested text, the other half to the same id of the noisy
audio; and half of those of the third to the same id of earlier answers to the same request.
"""

import torch
from torch import Tensor
from torch.nn import functional

from core.llama.huggingface import LlamaForCausalLM
from core.training.audio_llm.episodes import AnswerBatch
from core.training.label_llm.network import apply_layer

PREVIOUS_LAYER, ASKED_LAYER, SOURCE_LAYER = 0, 1, 2
MAX_ROWS = 60
"""Rows of a prompt at which attention is supervised: all of them would take as long as everything else."""

ATTENTION_LOSSES = ("previous", "text", "noisy", "source")


def answer_losses(network: LlamaForCausalLM, batch: AnswerBatch, read: Tensor) -> dict[str, Tensor]:
    """Return `answer` and ATTENTION_LOSSES in nats, unweighted; read (B, T) are the input ids."""
    positions = torch.arange(read.shape[1])[None]
    half = network.config.num_attention_heads // 2
    first, second = slice(half), slice(half, None)
    wanted = {
        "previous": (PREVIOUS_LAYER, first, batch.answers[..., None] & _before(read.shape[1])),
        "text": (ASKED_LAYER, first, batch.texts),
        "noisy": (ASKED_LAYER, second, batch.noisy),
        "source": (SOURCE_LAYER, first, batch.sources),
    }
    hidden, losses = network.model.embed_tokens(read), {}
    for layer in range(len(network.model.layers)):
        hidden, queries, keys = apply_layer(network, layer, hidden, positions)
        for name, (at, heads, columns) in wanted.items():
            if at == layer:
                losses[name] = looking_loss(queries[:, heads], keys[:, heads], columns)
    is_answer = batch.answers[:, 1:]
    logits = network.lm_head(network.model.norm(hidden[:, :-1][is_answer]))
    losses["answer"] = functional.cross_entropy(logits.float(), batch.token_ids[:, 1:][is_answer])
    return losses


def _before(length: int) -> Tensor:
    """Return (T, T): the column before each row."""
    return torch.ones(length, length, dtype=torch.bool).tril(-1).triu(-1)


def looking_loss(queries: Tensor, keys: Tensor, wanted: Tensor) -> Tensor:
    """Return -log of the attention on the wanted columns (B, T, T), over the rows that have any.

    queries and keys (B, H, T, D), rotated.
    """
    prompts = zip(queries, keys, wanted, strict=True)
    looked = torch.cat([_looking(*prompt) for prompt in prompts])
    return looked.mean() if len(looked) else queries.new_zeros(())


def _looking(queries: Tensor, keys: Tensor, wanted: Tensor) -> Tensor:
    """Return (N,): the losses of one prompt, (H, T, D) and (T, T), at up to about MAX_ROWS rows."""
    rows = wanted.any(-1).nonzero()[:, 0]
    rows = rows[:: 1 + len(rows) // MAX_ROWS]
    scores = (queries[:, rows] @ keys.transpose(-1, -2)).float() / queries.shape[-1] ** 0.5  # (H, N, T)
    seen = torch.arange(keys.shape[-2]) <= rows[:, None]
    total = scores.masked_fill(~seen, -torch.inf).logsumexp(-1)
    part = scores.masked_fill(~wanted[rows], -torch.inf).logsumexp(-1)
    lost: Tensor = (total - part).flatten()
    return lost
