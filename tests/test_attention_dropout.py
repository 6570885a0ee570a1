"""Dropout on attention weights: kept ones scaled, others gone, in the backward the same."""

import pytest
import tiny
import torch
from attending import (
    DIM,
    assert_all_close,
    case,
    kernels,
    ours,
    output,
    small_tiles,
    upstream,
)
from formulas import exact, order_of, visible


@pytest.mark.parametrize("side", ["none", "left"])  # sdpa without and with a mask
@pytest.mark.parametrize("kernel", kernels(gradient=False))
def test_dropout_drops_weights_and_scales_the_rest(kernel, side):
    encoding = tiny.encoding("nopos", num_heads=12, head_dim=DIM)
    tokens, _, k, v = case(12, 64, side)
    torch.manual_seed(0)
    zeros, ones = torch.zeros_like(k), torch.ones_like(v)
    if kernel not in kernels(dropout=0.25):
        with pytest.raises(ValueError, match="dropout"):
            output(encoding, kernel, tokens, zeros, k, ones, dropout=0.25)
        return
    out = ours(encoding, kernel, tokens, zeros, k, ones, dropout=0.25)[0][0, ..., 0]  # (H, T)
    kept = out * torch.arange(1, 65) * 0.75  # of t + 1 equal weights, each worth 1 / (t + 1) / 0.75
    torch.testing.assert_close(kept, kept.round(), rtol=0, atol=1e-4)
    draws = 12 * 64 * 65 / 2
    assert abs(kept.sum() / draws - 0.75) < 5 * (0.25 * 0.75 / draws) ** 0.5
    assert len(kept[:, -1].unique()) > 2
    again = ours(encoding, kernel, tokens, zeros, k, ones, dropout=0.0)[0][0, ..., 0]
    torch.testing.assert_close(again, torch.ones(12, 64), rtol=0, atol=1e-6)


def drawn_weights(encoding, tokens, q, k, dropout, seed=0):
    """Attention weights (B, H, S, S): the output for values that are the identity; S = D."""
    identity = torch.eye(q.size(2)).expand_as(q)
    torch.manual_seed(seed)
    return output(encoding, "blockwise", tokens, q, k, identity, dropout=dropout)


@pytest.mark.parametrize("size", [(8, 16, 200), (128, 2048, 10**6)], ids=str)
@pytest.mark.parametrize("side", ["none", "both"])
@pytest.mark.parametrize("name", ["nopos", "kerple_log", "t5"])
def test_dropout_has_the_gradient_of_what_was_kept(name, side, size, monkeypatch):
    small_tiles(monkeypatch, *size)
    encoding = tiny.encoding(name, num_heads=3, head_dim=40)
    tokens, q, k, v = case(3, 40, side, dim=40)
    seen = visible(tokens).expand(3, 3, 40, 40)
    every, some = (drawn_weights(encoding, tokens, q, k, share, seed=5) for share in (0.0, 0.3))
    kept = some / every.clamp(min=1e-30)
    assert not every[~seen].any() and not some[~seen].any()
    torch.testing.assert_close(kept * 0.7, (kept > 0).float(), rtol=0, atol=1e-4)
    share = (kept > 0)[seen].double().mean().item()
    assert abs(share - 0.7) < 5 * (0.3 * 0.7 / seen.sum().item()) ** 0.5

    torch.manual_seed(5)
    found = ours(encoding, "blockwise", tokens, q, k, v, dropout=0.3)
    q, k, v = (x.double().requires_grad_() for x in (q, k, v))
    weights = {key: p.detach().double().requires_grad_() for key, p in encoding.named_parameters()}
    identity = torch.eye(40, dtype=torch.float64).expand_as(q)
    exactly = exact(name, weights, q, k, identity, order_of(name, tokens), visible(tokens))
    out = exactly * (kept > 0) / 0.7 @ v
    (out * upstream(out)).sum().backward()
    params = [w.grad for w in weights.values()]
    assert_all_close(found, [out.detach(), q.grad, k.grad, v.grad, *params], 1e-5)


def test_dropout_draws_anew_everywhere_but_from_the_same_seed(monkeypatch):
    encoding = tiny.encoding("nopos", num_heads=3, head_dim=32)
    for size in ((8, 16, 200), (128, 2048, 10**6)):
        small_tiles(monkeypatch, *size)
        tensors = case(3, 32, "none", dim=32)[:3]
        first, again, other = (drawn_weights(encoding, *tensors, 0.5, seed) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        kept = torch.cat([first, other]) > 0
        # of every row and head, of the last blocks of 8 queries what they see 8 keys at a time:
        # 16 keys a tile in the last
        seen = [(24, 0), (24, 8), (24, 16), (16, 0), (16, 8)]
        cells = torch.cat([kept[..., q : q + 8, k : k + 8] for q, k in seen]).flatten(2)
        assert cells.shape == (5 * 6, 3, 64)
        assert len(cells.flatten(0, 1).unique(dim=0)) == 5 * 6 * 3


def test_heads_far_apart_draw_their_own_dropout():
    """2^32 cells apart, say: a seed of PyTorch's CPU generator counts modulo 2^32."""
    encoding = tiny.encoding("nopos", num_heads=20, head_dim=1)
    length = 2**14
    tokens, ones = tiny.tokens(1, length), torch.ones(1, 20, length, 1)
    with torch.no_grad():
        out = output(encoding, "blockwise", tokens, 0 * ones, ones, ones, dropout=0.5, window=2)
    assert len(out[0, :, :, 0].unique(dim=0)) == 20


def test_the_mean_over_dropout_is_the_output_without():
    encoding = tiny.encoding("alibi", num_heads=3, head_dim=DIM)
    tensors = case(3, 24, "left")
    plain = output(encoding, "blockwise", *tensors)
    torch.manual_seed(0)
    draws = torch.stack([output(encoding, "blockwise", *tensors, dropout=0.2) for _ in range(400)])
    deviation = draws.std(0) / 20
    assert ((draws.mean(0) - plain).abs() <= 5 * deviation + 1e-6).all()
