"""What the small LLaMA is asked to learn from a batch of prompts whose answers are audio.

The ids of the answers, of course. Alone that learns what audio is like and nothing of the prompt for a long
time, so three losses say where an answer can be found: half of the heads of the first layer look at the id
before, of the second at the text that was asked, and of the third at ids that the answer can be taken from,
which are those behind the same id and text.
"""

import torch
from torch import Tensor
from torch.nn import functional

import core.torchaudio_cpu  # noqa: F401  transformers imports torchaudio

# isort: split
from transformers import LlamaForCausalLM

from core.training.answer_episodes import AnswerBatch
from core.training.llama_network import apply_layer

PREVIOUS_LAYER, TEXT_LAYER, SOURCE_LAYER = 0, 1, 2
ROWS = 60
"""Of a prompt, at which it is asked where attention looks: all of them would take as long as the rest."""

LOOKING = ("previous", "text", "source")


def answer_losses(network: LlamaForCausalLM, batch: AnswerBatch, read: Tensor) -> dict[str, Tensor]:
    """`answer`, `previous`, `text` and `source` in nats, unweighted; read (B, T) is what is seen."""
    positions = torch.arange(read.shape[1])[None]
    wanted = {
        PREVIOUS_LAYER: ("previous", batch.answers[..., None] & _before(read.shape[1])),
        TEXT_LAYER: ("text", batch.texts),
        SOURCE_LAYER: ("source", batch.sources),
    }
    hidden, losses = network.model.embed_tokens(read), {}
    for layer in range(len(network.model.layers)):
        hidden, queries, keys = apply_layer(network, layer, hidden, positions)
        if layer in wanted:
            name, columns = wanted[layer]
            losses[name] = looking_loss(queries, keys, columns)
    said = batch.answers[:, 1:]
    logits = network.lm_head(network.model.norm(hidden[:, :-1][said]))
    losses["answer"] = functional.cross_entropy(logits.float(), batch.token_ids[:, 1:][said])
    return losses


def _before(length: int) -> Tensor:
    """(T, T): the column before each row."""
    return torch.ones(length, length, dtype=torch.bool).tril(-1).triu(-1)


def looking_loss(queries: Tensor, keys: Tensor, wanted: Tensor) -> Tensor:
    """-log of the attention on the wanted columns (B, T, T), where there are any; of the first half of heads.

    queries and keys (B, H, T, D), rotated.
    """
    heads = queries.shape[1] // 2
    losses = [
        _looking(one, other, columns)
        for one, other, columns in zip(queries[:, :heads], keys[:, :heads], wanted, strict=True)
    ]
    looked = torch.cat(losses)
    return looked.mean() if len(looked) else queries.new_zeros(())


def _looking(queries: Tensor, keys: Tensor, wanted: Tensor) -> Tensor:
    """(N,): of one prompt, (H, T, D) and (T, T), at up to about ROWS places."""
    rows = wanted.any(-1).nonzero()[:, 0]
    rows = rows[:: 1 + len(rows) // ROWS]
    scores = (queries[:, rows] @ keys.transpose(-1, -2)).float() / queries.shape[-1] ** 0.5  # (H, N, T)
    seen = torch.arange(keys.shape[-2]) <= rows[:, None]
    total = scores.masked_fill(~seen, -torch.inf).logsumexp(-1)
    part = scores.masked_fill(~wanted[rows], -torch.inf).logsumexp(-1)
    lost: Tensor = (total - part).flatten()
    return lost
