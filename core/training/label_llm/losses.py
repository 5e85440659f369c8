"""What the mini LLaMA is asked to learn from a batch of episodes.

The label of each clip whose class was shown, of course. Alone that stays at chance for a long time, so five
losses say how a few-shot answer can be found. One layer below the matching, where a label is asked and
where it stands, attention listens to that clip and no other. In the matching layer, where a label is asked,
it looks at the labels of the same class; what it compares there tells classes apart across prompts, and
finds clips alike whose codes are alike, since classes made by rule are not all that people will ask for.
What it hands on from a label is that label.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

import core.audio.torchaudio_cpu  # noqa: F401  transformers imports torchaudio

# isort: split
from transformers import LlamaForCausalLM

from core.training.label_llm.episodes import EpisodeBatch
from core.training.label_llm.network import apply_layer, heads_of, logits_at, pick, rotate

LIKENESS_TEMPERATURE = 0.05
"""Of the likeness of codes that attention learns: among 150 clips it leaves about 19 worth a look."""

MAX_DISTANCE_IDS = 1000
"""Ids between a demonstration and a query, as far as long prompts go: matching must not depend on it."""


@dataclass(frozen=True, slots=True)
class Aids:
    """In which layer clips are matched, and how much each aid weighs beside the labels."""

    layer: int
    listening: float
    likeness: float
    attention: float
    copying: float
    closing: float


def label_losses(network: LlamaForCausalLM, batch: EpisodeBatch, aids: Aids) -> dict[str, Tensor]:
    """`label`, `closing`, `listening`, `attention` and `copying`, each a mean, before their weights."""
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
    """`listening`, `contrast`, `likeness` and `copying`, for which the layers up to the matching are enough.

    alike (B * N, B * N): how alike the codes of two clips of the batch are, from 0 to 1.
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
    """Where a label is asked, and attention lay on that very label and nothing else, the label is said."""
    values = heads_of(network, layer, pick(hidden, batch.outs + 1)).values
    handed_on = network.model.layers[layer].self_attn.o_proj(values.transpose(1, 2).flatten(2))
    logits = network.lm_head(network.model.norm(pick(hidden, batch.outs) + handed_on))
    return _slot_loss(logits.flatten(0, 1), batch.slots.flatten(), batch.known)


def matching_scores(
    network: LlamaForCausalLM, batch: EpisodeBatch, hidden: Tensor, layer: int, generator: torch.Generator
) -> Tensor:
    """(H, BN, BN): what each place where a label is asked makes of each label, as if all prompts were one."""
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
    """-log of the attention that clips of the same class in other prompts get; scores of matching_scores.

    Clips of the same prompt are left out: what they have in common besides their sound would give them away.
    """
    other = _other_prompts(batch)
    same = (batch.classes.flatten()[:, None] == batch.classes.flatten()) & other
    return -_log_share(scores, same, other)[:, same.any(-1)].mean()


def likeness_loss(batch: EpisodeBatch, scores: Tensor, alike: Tensor) -> Tensor:
    """How far attention over clips in other prompts lies from how alike their codes are (KL divergence)."""
    other = _other_prompts(batch)
    wanted = (alike / LIKENESS_TEMPERATURE).masked_fill(~other, -torch.inf).log_softmax(-1)
    given = scores.float().masked_fill(~other, -torch.inf).log_softmax(-1)
    terms = wanted.exp() * (wanted - given)
    return terms.masked_fill(~other, 0).sum(-1).mean()


def _other_prompts(batch: EpisodeBatch) -> Tensor:
    prompts = torch.arange(len(batch.classes)).repeat_interleave(batch.classes.shape[1])
    return prompts[:, None] != prompts


def listening_loss(batch: EpisodeBatch, queries: Tensor, keys: Tensor) -> Tensor:
    """Cross-entropy of attention and an even look at all ids of a clip, where its label is asked and stands.

    Less the least it can be, the logarithm of how many ids there are.
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
    """-log of the attention mass on earlier labels of the same class, where a shown label is asked."""
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
    """Behind a label the next demonstration begins, always alike; the last label has nothing behind it."""
    rows = batch.outs[:, :-1] + 1
    logits = logits_at(network, hidden, rows)
    return functional.cross_entropy(
        logits.flatten(0, 1).float(), batch.token_ids.gather(1, rows + 1).flatten()
    )


def _slot_loss(logits: Tensor, slots: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy among the slots alone, as answers are read: no other id can be a label."""
    return functional.cross_entropy(logits[:, known].float(), (slots[:, None] == known).long().argmax(1))


def _log_share(scores: Tensor, wanted: Tensor, counted: Tensor) -> Tensor:
    """log of the softmax mass over `counted` that lies on `wanted`; the last axis goes."""
    scores = scores.float()
    total = scores.masked_fill(~counted, -torch.inf).logsumexp(-1)
    # rows without anything wanted stay finite and are left out by the callers
    part = scores.masked_fill(~wanted, -1e4).logsumexp(-1)
    return part - total


def _positions(batch: EpisodeBatch) -> Tensor:
    return torch.arange(batch.token_ids.shape[1])[None]
