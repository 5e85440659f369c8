"""Losses of the mini LLaMA on a batch of episodes.

The main one is on the label of each clip whose class was shown. That alone stays at chance for a long time,
so five losses teach how a few-shot answer is found. In the layer below the matching, the positions before and
at a label attend to that clip only. In the matching layer, the position before a label attends to the labels
of the same class; what it compares separates classes across prompts, and finds clips with similar codes,
since rule-made classes are not all that people will ask for. What it passes on from a label is that label.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from core.llama.huggingface import LlamaForCausalLM
from core.training.label_llm.episodes import EpisodeBatch
from core.training.label_llm.network import apply_layer, heads_of, logits_at, pick, rotate

LIKENESS_TEMPERATURE = 0.05
"""Temperature of the code similarities that attention learns: of 150 clips about 19 keep some weight."""

MAX_DISTANCE_IDS = 1000
"""Largest distance in ids of a demonstration and a query, as in long prompts: matching must not depend
on it.
"""


@dataclass(frozen=True, slots=True)
class Aids:
    """The layer that matches clips, and the weights of the aiding losses relative to the labels."""

    layer: int
    listening: float
    likeness: float
    attention: float
    copying: float
    closing: float


def label_losses(network: LlamaForCausalLM, batch: EpisodeBatch, aids: Aids) -> dict[str, Tensor]:
    """Return `label`, `closing`, `listening`, `attention` and `copying`, each a mean, before their
    weights.
    """
    positions = _positions(batch)
    hidden = network.model.embed_tokens(batch.token_ids)
    losses: dict[str, Tensor] = {}
    for layer in range(len(network.model.layers)):
        if layer == aids.layer:
            losses["copying"] = copying_loss(network, batch, hidden, layer)
        hidden, queries, keys = apply_layer(network, layer, hidden, positions)
        if layer == aids.layer - 1:
            losses["listening"] = listening_loss(batch, queries, keys)
        if layer == aids.layer:
            losses["attention"] = attention_loss(batch, queries, keys)
    logits = logits_at(network, hidden, batch.outs)
    losses["label"] = _slot_loss(logits[batch.shown], batch.slots[batch.shown], batch.known)
    losses["closing"] = closing_loss(network, batch, hidden)
    return losses


def matching_losses(
    network: LlamaForCausalLM, batch: EpisodeBatch, alike: Tensor, layer: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return `listening`, `contrast`, `likeness` and `copying`, which need only the layers up to the
    matching.

    alike (B * N, B * N): the similarity of the codes of two clips of the batch, from 0 to 1.
    """
    hidden = network.model.embed_tokens(batch.token_ids)
    for below in range(layer):
        hidden, queries, keys = apply_layer(network, below, hidden, _positions(batch))
    scores = matching_scores(network, batch, hidden, layer, generator)
    return {
        "listening": listening_loss(batch, queries, keys),
        "contrast": contrast_loss(batch, scores),
        "likeness": likeness_loss(batch, scores, alike),
        "copying": copying_loss(network, batch, hidden, layer),
    }


def copying_loss(network: LlamaForCausalLM, batch: EpisodeBatch, hidden: Tensor, layer: int) -> Tensor:
    """Return the loss of the label if attention at its position were on that label alone."""
    values = heads_of(network, layer, pick(hidden, batch.outs + 1)).values
    handed_on = network.model.layers[layer].self_attn.o_proj(values.transpose(1, 2).flatten(2))
    logits = network.lm_head(network.model.norm(pick(hidden, batch.outs) + handed_on))
    return _slot_loss(logits.flatten(0, 1), batch.slots.flatten(), batch.known)


def matching_scores(
    network: LlamaForCausalLM, batch: EpisodeBatch, hidden: Tensor, layer: int, generator: torch.Generator
) -> Tensor:
    """Return (H, BN, BN): the attention score of each label position for each label, across all prompts."""
    asking = heads_of(network, layer, pick(hidden, batch.outs)).queries
    labels = heads_of(network, layer, pick(hidden, batch.outs + 1)).keys
    near = torch.randint(MAX_DISTANCE_IDS, (1, batch.outs.numel()), generator=generator)
    queries, keys = (
        rotate(network, states.transpose(0, 1).flatten(1, 2).unsqueeze(0), positions)[0]
        for states, positions in ((asking, near + MAX_DISTANCE_IDS), (labels, near.roll(1, -1)))
    )
    scores: Tensor = queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5
    return scores


def contrast_loss(batch: EpisodeBatch, scores: Tensor) -> Tensor:
    """Return -log of the attention on clips of the same class in other prompts; scores of matching_scores.

    Clips of the same prompt are left out: they have more in common than their sound.
    """
    other = _other_prompts(batch)
    same = (batch.classes.flatten()[:, None] == batch.classes.flatten()) & other
    return -_log_share(scores, same, other)[:, same.any(-1)].mean()


def likeness_loss(batch: EpisodeBatch, scores: Tensor, alike: Tensor) -> Tensor:
    """Return the KL divergence of attention over clips in other prompts from the similarity of their
    codes.
    """
    other = _other_prompts(batch)
    wanted = (alike / LIKENESS_TEMPERATURE).masked_fill(~other, -torch.inf).log_softmax(-1)
    given = scores.float().masked_fill(~other, -torch.inf).log_softmax(-1)
    terms = wanted.exp() * (wanted - given)
    return terms.masked_fill(~other, 0).sum(-1).mean()


def _other_prompts(batch: EpisodeBatch) -> Tensor:
    prompts = torch.arange(len(batch.classes)).repeat_interleave(batch.classes.shape[1])
    return prompts[:, None] != prompts


def listening_loss(batch: EpisodeBatch, queries: Tensor, keys: Tensor) -> Tensor:
    """Return the cross-entropy of uniform attention on the ids of a clip, before and at its label.

    Its minimum, the logarithm of the number of ids, is subtracted.
    """
    columns = torch.arange(keys.shape[-2])
    own = (columns >= batch.begins[..., None]) & (columns < batch.ends[..., None])  # (B, N, T)
    count = own.sum(-1)
    losses = []
    for rows in (batch.outs, batch.outs + 1):
        scores = pick(queries, rows) @ keys.transpose(-1, -2) / keys.shape[-1] ** 0.5  # (B, H, N, T)
        unseen = (columns > rows[..., None])[:, None]
        total = scores.masked_fill(unseen, -torch.inf).logsumexp(-1)
        even = scores.masked_fill(~own[:, None], 0).sum(-1) / count[:, None]
        losses.append((total - even - count[:, None].log()).mean())
    return torch.stack(losses).mean()


def attention_loss(batch: EpisodeBatch, queries: Tensor, keys: Tensor) -> Tensor:
    """Return -log of the attention on earlier labels of the same class, at the positions of shown labels."""
    asking = pick(queries, batch.outs)
    scores = asking @ keys.transpose(-1, -2) / keys.shape[-1] ** 0.5  # (B, H, N, T)
    before = torch.arange(keys.shape[-2]) <= batch.outs[..., None]  # (B, N, T)
    count = batch.outs.shape[1]
    earlier = torch.ones(count, count, dtype=torch.bool).tril(-1)
    same = (batch.classes[..., None] == batch.classes[:, None]) & earlier  # (B, N, N)
    columns = (batch.outs + 1)[:, None].expand_as(same)
    wanted = torch.zeros_like(before).scatter(-1, columns, same)
    share = _log_share(scores, wanted[:, None], before[:, None])  # (B, H, N)
    return -share.transpose(1, 2)[batch.shown].mean()


def closing_loss(network: LlamaForCausalLM, batch: EpisodeBatch, hidden: Tensor) -> Tensor:
    """Return the loss of the id after a label, where the next demonstration begins; the last label has
    none.
    """
    rows = batch.outs[:, :-1] + 1
    logits = logits_at(network, hidden, rows)
    return functional.cross_entropy(
        logits.flatten(0, 1).float(), batch.token_ids.gather(1, rows + 1).flatten()
    )


def _slot_loss(logits: Tensor, slots: Tensor, known: Tensor) -> Tensor:
    """Return the cross-entropy among the slots alone, as answers are read: no other id can be a label."""
    return functional.cross_entropy(logits[:, known].float(), (slots[:, None] == known).long().argmax(1))


def _log_share(scores: Tensor, wanted: Tensor, counted: Tensor) -> Tensor:
    """Return the log of the share of softmax mass over `counted` that is on `wanted`; removes the last
    axis.
    """
    scores = scores.float()
    total = scores.masked_fill(~counted, -torch.inf).logsumexp(-1)
    # rows without anything wanted stay finite and are left out by the callers
    part = scores.masked_fill(~wanted, -1e4).logsumexp(-1)
    return part - total


def _positions(batch: EpisodeBatch) -> Tensor:
    return torch.arange(batch.token_ids.shape[1])[None]
