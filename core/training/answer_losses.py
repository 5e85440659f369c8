"""What the small LLaMA is asked to learn from a batch of prompts whose answers are audio.

The ids of the answers, of course. Alone that learns what audio is like and nothing of the prompt for a long
time, so two losses say where an answer can be found: half of the heads of one layer look at the text that was
asked, and half of those of the next at ids that the answer can be taken from.
"""

import torch
from torch import Tensor
from torch.nn import functional

import core.torchaudio_cpu  # noqa: F401  transformers imports torchaudio

# isort: split
from transformers import LlamaForCausalLM

from core.training.answer_episodes import AnswerBatch
from core.training.llama_network import apply_layer

TEXT_LAYER, SOURCE_LAYER = 1, 2


def answer_losses(network: LlamaForCausalLM, batch: AnswerBatch, read: Tensor) -> dict[str, Tensor]:
    """`answer`, `text` and `source`, means in nats before their weights; read (B, T) is what is seen."""
    positions = torch.arange(read.shape[1])[None]
    wanted = {TEXT_LAYER: ("text", batch.texts), SOURCE_LAYER: ("source", batch.sources)}
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


def looking_loss(queries: Tensor, keys: Tensor, wanted: Tensor) -> Tensor:
    """-log of the attention on the wanted columns (B, T, T), where there are any; of the first half of heads.

    queries and keys (B, H, T, D), rotated.
    """
    rows = wanted.any(-1)
    if not rows.any():
        return queries.new_zeros(())
    heads = queries.shape[1] // 2
    prompts, places = rows.nonzero(as_tuple=True)
    scores = torch.einsum("bhtd,bhsd->bhts", queries[:, :heads], keys[:, :heads]).float()
    scores = (scores / queries.shape[-1] ** 0.5)[prompts, :, places]  # (N, H, T)
    seen = torch.arange(keys.shape[-2]) <= places[:, None]
    total = scores.masked_fill(~seen[:, None], -torch.inf).logsumexp(-1)
    part = scores.masked_fill(~wanted[rows][:, None], -torch.inf).logsumexp(-1)
    loss: Tensor = (total - part).mean()
    return loss
