"""The random network is ready to copy: no id is drowned, and what is looked at can be said."""

import pytest
import torch

import core.audio.torchaudio_cpu  # noqa: F401  transformers imports torchaudio

# isort: split
from transformers import LlamaConfig, LlamaForCausalLM

from core.training.audio_llm.losses import ASKED_LAYER, SOURCE_LAYER
from core.training.audio_llm.network import answer_network

CONFIG = LlamaConfig(
    vocab_size=300,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=4,
    head_dim=16,
    initializer_range=0.125,
    tie_word_embeddings=False,
)


@pytest.fixture(scope="module")
def network() -> LlamaForCausalLM:
    return answer_network(CONFIG, seed=1)


def test_the_same_seed_makes_the_same_network_and_leaves_the_global_generator(
    network: LlamaForCausalLM,
) -> None:
    before = torch.get_rng_state()
    again, other = answer_network(CONFIG, seed=1), answer_network(CONFIG, seed=2)
    assert torch.get_rng_state().equal(before)
    for name, tensor in network.state_dict().items():
        assert tensor.equal(again.state_dict()[name]), name
    assert not network.lm_head.weight.equal(other.lm_head.weight)


@pytest.mark.parametrize(("layer", "part"), [(ASKED_LAYER, slice(32, None)), (SOURCE_LAYER, slice(32))])
@torch.no_grad()
def test_heads_that_copy_say_the_id_they_look_at(network: LlamaForCausalLM, layer: int, part: slice) -> None:
    attention = network.model.layers[layer].self_attn
    looked_at = network.model.embed_tokens.weight
    values = attention.v_proj.weight[part] @ looked_at.T
    said = network.lm_head((attention.o_proj.weight[:, part] @ values).T)
    right = said.argmax(-1) == torch.arange(CONFIG.vocab_size)
    assert right.float().mean() > 0.9


@torch.no_grad()
def test_an_id_is_still_seen_behind_the_first_layer(network: LlamaForCausalLM) -> None:
    token_ids = torch.randint(300, (1, 50), generator=torch.Generator().manual_seed(1))
    states = network.model(token_ids, output_hidden_states=True).hidden_states
    added = states[1] - states[0]
    assert added.std() < states[0].std()


@torch.no_grad()
def test_at_first_no_id_is_likely(network: LlamaForCausalLM) -> None:
    token_ids = torch.randint(300, (1, 50), generator=torch.Generator().manual_seed(1))
    assert network(token_ids).logits.softmax(-1).max() < 0.2
