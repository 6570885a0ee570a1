"""The attention weights that models.maps gives are those that a forward uses."""

import pytest
import tiny
import torch

from nopos_plugin import positions
from nopos_plugin.models.maps import attention_maps

PAD = 1


@pytest.mark.parametrize("encoding", positions.names())
@pytest.mark.parametrize("flags", [(), ("--decoder-normalize-before",)], ids=["post", "pre"])
def test_weights_times_values_are_what_attention_returns(encoding, flags):
    model = tiny.model(f"transformer_lm_{encoding}", *flags, "--decoder-kv-heads", "2")
    tokens = torch.arange(4, 52).view(2, 24)
    tokens[1, 16:] = PAD
    returned = []

    def keep(attention, inputs, named, outputs):
        returned.append((attention, named["query"], outputs[0]))

    for attention in model.decoder.attentions():
        attention.register_forward_hook(keep, with_kwargs=True)
    model(tokens)
    maps = list(attention_maps(model.decoder, tokens))
    assert len(maps) == len(model.decoder.layers)
    for weights, (attention, x, expected) in zip(maps, returned, strict=False):
        values = attention.v_proj(x).unflatten(2, (2, -1)).permute(1, 2, 0, 3)
        heads = weights @ values.repeat_interleave(2, dim=1)
        made = attention.out_proj(heads.permute(2, 0, 1, 3).flatten(2))
        torch.testing.assert_close(made[:, 0], expected[:, 0])
        torch.testing.assert_close(made[:16, 1], expected[:16, 1])
        assert weights.triu(1).sum() == 0
        torch.testing.assert_close(weights[0].sum(-1), torch.ones(4, 24))


def test_hooks_are_gone_after_it():
    model = tiny.model("transformer_lm_nopos")
    list(attention_maps(model.decoder, torch.arange(4, 12)[None]))
    assert not any(a._forward_pre_hooks for a in model.decoder.attentions())


def test_blocks_in_parallel():
    parallel = ("--decoder-normalize-before", "--decoder-parallel-residual")
    model = tiny.model("transformer_lm_rope", *parallel)
    (first, second) = attention_maps(model.decoder, torch.arange(4, 12)[None])
    assert first.shape == second.shape == (1, 4, 8, 8)
