"""What the small LLaMA is asked to learn from a batch of prompts whose answers are audio.

The ids of the answers, of course. Alone that learns what audio is like and nothing of the prompt for a long
time, so four losses say where an answer can be found: half of the heads of the first layer look at the id
before; of the second half at the text that was asked, half at the same id of the noisy audio; and half of
those of the third at the same id of earlier answers to the same.
"""

import torch
from torch import Tensor
from torch.nn import functional

import core.audio.torchaudio_cpu  # noqa: F401  transformers imports torchaudio

# isort: split
from transformers import LlamaForCausalLM

from core.training.audio_llm.episodes import AnswerBatch
from core.training.label_llm.network import apply_layer

PREVIOUS_LAYER, ASKED_LAYER, SOURCE_LAYER = 0, 1, 2
MAX_ROWS = 60
"""Of a prompt, at which it is asked where attention looks: all of them would take as long as the rest."""

ATTENTION_LOSSES = ("previous", "text", "noisy", "source")


def answer_losses(network: LlamaForCausalLM, batch: AnswerBatch, read: Tensor) -> dict[str, Tensor]:
    """`answer` and those of ATTENTION_LOSSES in nats, unweighted; read (B, T) is what is seen."""
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
    said = batch.answers[:, 1:]
    logits = network.lm_head(network.model.norm(hidden[:, :-1][said]))
    losses["answer"] = functional.cross_entropy(logits.float(), batch.token_ids[:, 1:][said])
    return losses


def _before(length: int) -> Tensor:
    """(T, T): the column before each row."""
    return torch.ones(length, length, dtype=torch.bool).tril(-1).triu(-1)


def looking_loss(queries: Tensor, keys: Tensor, wanted: Tensor) -> Tensor:
    """-log of the attention on the wanted columns (B, T, T), where there are any.

    queries and keys (B, H, T, D), rotated.
    """
    prompts = zip(queries, keys, wanted, strict=True)
    looked = torch.cat([_looking(*prompt) for prompt in prompts])
    return looked.mean() if len(looked) else queries.new_zeros(())


def _looking(queries: Tensor, keys: Tensor, wanted: Tensor) -> Tensor:
    """(N,): of one prompt, (H, T, D) and (T, T), at up to about MAX_ROWS places."""
    rows = wanted.any(-1).nonzero()[:, 0]
    rows = rows[:: 1 + len(rows) // MAX_ROWS]
    scores = (queries[:, rows] @ keys.transpose(-1, -2)).float() / queries.shape[-1] ** 0.5  # (H, N, T)
    seen = torch.arange(keys.shape[-2]) <= rows[:, None]
    total = scores.masked_fill(~seen, -torch.inf).logsumexp(-1)
    part = scores.masked_fill(~wanted[rows], -torch.inf).logsumexp(-1)
    lost: Tensor = (total - part).flatten()
    return lost
