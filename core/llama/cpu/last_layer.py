"""The last layer of a LLaMA, computed only at the ids whose logits are needed."""

from torch import Tensor, nn

from core.llama.cpu.split_attention import split_attention
from core.llama.huggingface import DynamicCache, LlamaDecoderLayer, rotate_half


class LastLayer(nn.Module):
    """A replacement of a model's last layer: output only at `states`, keys and values of all ids.

    Without `states` it is the original layer.
    """

    def __init__(self, layer: LlamaDecoderLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self,
        hidden: Tensor,
        *,
        position_embeddings: tuple[Tensor, Tensor],
        past_key_values: DynamicCache | None = None,
        prefix: DynamicCache | None = None,
        states: Tensor | None = None,
        states_mask: Tensor | None = None,
        **others: object,
    ) -> Tensor:
        """Compute (1, states, width) of (1, S, width); states_mask is added to the scores of these states.

        The mask is (1, 1, states, T) for T ids in the cache, or for the ids of the input without a cache.
        """
        if states is None:
            read: Tensor = self.layer(
                hidden, position_embeddings=position_embeddings, past_key_values=past_key_values, **others
            )
            return read
        attention, normed = self.layer.self_attn, self.layer.input_layernorm(hidden)
        cos, sin = (angles.unsqueeze(1) for angles in position_embeddings)
        keys = _turned(self._heads(attention.k_proj(normed)), cos, sin)
        values = self._heads(attention.v_proj(normed))
        if past_key_values is not None:
            keys, values = past_key_values.update(keys, values, attention.layer_idx)
        query = self._heads(attention.q_proj(normed[:, states]))
        query = _turned(query, cos[:, :, states], sin[:, :, states])
        attended, _ = split_attention(
            attention, query, keys, values, states_mask, prefix=prefix, scaling=attention.scaling
        )
        out: Tensor = hidden[:, states] + attention.o_proj(attended.flatten(2))
        out += self.layer.mlp(self.layer.post_attention_layernorm(out))
        return out

    def _heads(self, projected: Tensor) -> Tensor:
        """Reshape (1, S, heads * D) to (1, heads, S, D)."""
        head_dim: int = self.layer.self_attn.head_dim
        return projected.view(1, projected.shape[1], -1, head_dim).transpose(1, 2)


def _turned(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate states (1, heads, S, D) by the angles of their positions."""
    turned: Tensor = states * cos + rotate_half(states) * sin
    return turned
