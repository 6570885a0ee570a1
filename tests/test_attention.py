"""Attention: softmax attention and every encoding's formula retyped in float64, and the kernels."""

import math

import pytest
import tiny
import torch
import torch.nn.functional as F

from nopos_plugin import positions
from nopos_plugin.attention import KERNELS, AttentionContext, attend

PAD, DIM = 1, 8
LENGTHS, HEADS, SIDES = (1, 2, 63, 100), (3, 6, 12), ("none", "left", "right")


def slopes(heads):
    closest = 2 ** math.floor(math.log2(heads))
    listed = [2.0 ** (-8 * (h + 1) / closest) for h in range(closest)]
    listed += [2.0 ** (-4 * (h + 1) / closest) for h in range(0, 2 * closest, 2)]
    return torch.tensor(listed[:heads], dtype=torch.float64).view(heads, 1, 1)


def alibi(weights, d, heads):
    return -slopes(heads) * d


def bipe_alibi(weights, d, heads):
    return -96 * slopes(heads) * d


def kerple_log(weights, d, heads):
    r1, r2 = (F.softplus(weights[raw]).view(heads, 1, 1) for raw in ("raw_r1", "raw_r2"))
    return -r1 * torch.log(1 + r2 * d)


def kerple_power(weights, d, heads):
    r1 = F.softplus(weights["raw_r1"]).view(heads, 1, 1)
    r2 = 2 / (1 + torch.exp(-weights["raw_r2"])).view(heads, 1, 1)
    return -r1 * torch.where(d > 0, d.clamp(min=1) ** r2, 0.0)


def t5(weights, d, heads):
    far = 16 + (16 * torch.log(d.clamp(min=1) / 16) / math.log(8) + 1e-12).floor()
    bucket = torch.where(d < 16, d, far.clamp(max=31)).long()  # (B, 1, T, S)
    return weights["weight"][bucket[:, 0]].permute(0, 3, 1, 2)


BIASES = {f.__name__: f for f in (alibi, bipe_alibi, kerple_log, kerple_power, t5)}
FAMILIES = (*BIASES, "nopos", "learned", "sinusoidal", "rope", "bipe_rope")


def turned(x, order):
    """RoPE in float64: channels (i, i + D/2) as one complex number."""
    rates = 10000.0 ** (-torch.arange(0, DIM, 2, dtype=torch.float64) / DIM)
    pairs = torch.complex(x[..., : DIM // 2], x[..., DIM // 2 :])
    angles = order.double()[:, None, :, None] * rates
    pairs = pairs * torch.complex(angles.cos(), angles.sin())
    return torch.cat([pairs.real, pairs.imag], -1)


def order_of(name, tokens):
    """Positions counted by hand: tokens but no pads, or segments ended by . (4) or </s> (2)."""
    bipe, rows = name.startswith("bipe"), []
    for row in tokens.tolist():
        count, order = 0, []
        for token in row:
            order.append(count if bipe or token != PAD else 0)
            count += token in (2, 4) if bipe else token != PAD
        rows.append(order)
    return torch.tensor(rows)


def exact(name, weights, q, k, v, order, pads):
    """softmax(q k / sqrt(D) + bias) v in float64; a query that sees nothing gives 0."""
    if "rope" in name:
        q, k = turned(q, order[:, -q.size(2) :]), turned(k, order)
    distance = (order[:, -q.size(2) :].unsqueeze(2) - order.unsqueeze(1)).unsqueeze(1).double()
    scores = q @ k.mT / math.sqrt(DIM)
    if name in BIASES:
        scores = scores + BIASES[name](weights, distance.clamp(min=0), q.size(1))
    seen = torch.ones(scores.shape[-2:]).tril(k.size(2) - q.size(2)).bool() & ~pads[:, None, None]
    scores = scores.masked_fill(~seen, -1e9)
    parts = (scores - scores.amax(-1, keepdim=True)).exp() * seen
    return parts / parts.sum(-1, keepdim=True).clamp(min=1e-300) @ v


def case(heads, length, side, seed=0):
    """Tokens of three rows with no pads, some, and all but one, and q, k, v (3, H, S, D)."""
    tokens = tiny.tokens(3, length, seed)
    for row, pads in ((1, length // 3), (2, length - 1)):
        if side != "none":
            tokens[row, slice(0, pads) if side == "left" else slice(length - pads, length)] = PAD
    generator = torch.Generator().manual_seed(seed)
    return tokens, *(torch.randn(3, heads, length, DIM, generator=generator) for _ in range(3))


def ours(encoding, kernel, tokens, q, k, v, new=None, given=None, dropout=0.0):
    """Output (B, H, T, D) of the last `new` queries, by way of the encoding, and its gradients."""
    q, k, v = (x.clone().requires_grad_() for x in (q, k, v))
    encoding.zero_grad()
    placed = encoding.positions(tokens, given)
    turned_q, turned_k = encoding.rotate(q, k, encoding.rotation(placed.order))
    first = tokens.size(1) - (new or tokens.size(1))
    pads = tokens.eq(PAD) if tokens.eq(PAD).any() else None
    context = AttentionContext(
        encoding, placed.order[:, first:], placed.order, placed.consecutive, pads, kernel=kernel
    )
    out = attend(turned_q[:, :, first:], turned_k, v, context, 0, dropout)
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(7))
    (out.float() * upstream).sum().backward()
    return [out.detach(), *(x.grad for x in (q, k, v)), *(p.grad for p in trained(encoding))]


def trained(encoding):
    """Parameters that attention, rather than the input, uses."""
    return [p for p in encoding.parameters() if encoding.name in BIASES and p.size(0) < 1024]


def theirs(encoding, tokens, q, k, v, new=None, given=None):
    """The same in float64 from the formulas."""
    q, k, v = (x.double().requires_grad_() for x in (q, k, v))
    weights = {key: p.detach().double().requires_grad_() for key, p in encoding.named_parameters()}
    order = order_of(encoding.name, tokens) if given is None else given
    queries = q[:, :, tokens.size(1) - (new or tokens.size(1)) :]
    out = exact(encoding.name, weights, queries, k, v, order, tokens.eq(PAD))
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(7))
    (out * upstream.double()).sum().backward()
    params = [weights[key].grad for key, p in encoding.named_parameters() if len(trained(encoding))]
    return [out.detach(), *(x.grad for x in (q, k, v)), *params[: len(trained(encoding))]]


def assert_all_close(actual, expected, tolerance):
    assert len(actual) == len(expected)
    for a, b in zip(actual, expected, strict=True):
        tiny.assert_close(a, b, tolerance)


def queries_of(length):
    """How many of the keys' tokens are new: all, one, a third."""
    return sorted({length, 1, max(length // 3, 1)})


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", FAMILIES)
def test_reference_is_the_formula_in_float64(name, length, heads):
    encoding = tiny.encoding(name, num_heads=heads, head_dim=DIM)
    for side in SIDES:
        tensors = case(heads, length, side, seed=length)
        for new in queries_of(length):
            expected = theirs(encoding, *tensors, new)
            assert_all_close(ours(encoding, "reference", *tensors, new), expected, 5e-6)


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", positions.names())
def test_every_kernel_is_the_reference(name, length, heads):
    encoding = tiny.encoding(name, num_heads=heads, head_dim=DIM)
    for side in SIDES:
        tensors = case(heads, length, side, seed=length + 1)
        for new in queries_of(length):
            expected = ours(encoding, "reference", *tensors, new)
            for kernel in (*KERNELS, "auto"):
                assert_all_close(ours(encoding, kernel, *tensors, new), expected, 5e-6)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", [n for n in FAMILIES if positions.get(n).accepts_given])
def test_given_positions_jump(name, kernel):
    encoding = tiny.encoding(name, num_heads=3, head_dim=DIM, max_length=5000)
    tensors = case(3, 63, "none")
    generator = torch.Generator().manual_seed(0)
    given = torch.randint(0, 5000, (3, 63), generator=generator).sort(1).values
    given[2] = torch.arange(63) + 4000 * (torch.arange(63) > 20)
    expected = theirs(encoding, *tensors, given=given)
    assert_all_close(ours(encoding, kernel, *tensors, given=given), expected, 1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", positions.names())
def test_queries_that_see_nothing_give_zeros_and_finite_gradients(name, kernel):
    encoding = tiny.encoding(name, num_heads=3, head_dim=DIM)
    tokens, q, k, v = case(3, 20, "none")
    tokens[0, :8] = PAD
    tokens[1, :] = PAD
    out, *grads = ours(encoding, kernel, tokens, q, k, v)
    assert not out[0, :, :8].any() and not out[1].any()
    assert out[0, :, 8:].all() and out[2].all()
    assert all(grad.isfinite().all() for grad in grads)
    assert not grads[0][1].any() and not grads[1][1].any() and not grads[2][1].any()


@pytest.mark.parametrize("side", ["none", "left"])  # sdpa without and with a mask
@pytest.mark.parametrize("kernel", KERNELS)
def test_dropout_drops_weights_and_scales_the_rest(kernel, side):
    encoding = tiny.encoding("nopos", num_heads=12, head_dim=DIM)
    tokens, _, k, v = case(12, 64, side)
    torch.manual_seed(0)
    zeros, ones = torch.zeros_like(k), torch.ones_like(v)
    out = ours(encoding, kernel, tokens, zeros, k, ones, dropout=0.25)[0][0, ..., 0]  # (H, T)
    kept = out * torch.arange(1, 65) * 0.75  # of t + 1 equal weights, each worth 1 / (t + 1) / 0.75
    torch.testing.assert_close(kept, kept.round(), rtol=0, atol=1e-4)
    draws = 12 * 64 * 65 / 2
    assert abs(kept.sum() / draws - 0.75) < 5 * (0.25 * 0.75 / draws) ** 0.5
    assert len(kept[:, -1].unique()) > 2
    again = ours(encoding, kernel, tokens, zeros, k, ones, dropout=0.0)[0][0, ..., 0]
    torch.testing.assert_close(again, torch.ones(12, 64), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", FAMILIES)
def test_low_precision_is_as_good_as_a_plain_one(name, kernel, dtype):
    encoding = tiny.encoding(name, num_heads=3, head_dim=DIM)
    tokens, *vectors = case(3, 100, "none")
    rounded = [x.to(dtype) for x in vectors]
    weights = {key: p.detach().double() for key, p in encoding.named_parameters()}
    order, pads = order_of(name, tokens), tokens.eq(PAD)
    best = exact(name, weights, *(x.double() for x in rounded), order, pads)
    q, k, v = rounded
    if "rope" in name:
        q, k = (turned(x.double(), order).to(dtype) for x in (q, k))
    distance = (order.unsqueeze(2) - order.unsqueeze(1)).unsqueeze(1).double()
    scores = (q @ k.mT).float() / math.sqrt(DIM)
    if name in BIASES:
        scores = scores + BIASES[name](weights, distance.clamp(min=0), 3).to(dtype).float()
    scores = scores.masked_fill(torch.ones(100, 100).triu(1).bool(), -torch.inf)
    plain = scores.softmax(-1).to(dtype) @ v
    out = ours(encoding, kernel, tokens, *rounded)[0]
    assert out.dtype == dtype

    def error(x):
        return (x.double() - best).square().mean().sqrt().item()

    assert error(out) <= 2 * error(plain)


@pytest.mark.parametrize("name", ["nopos", "alibi"])
def test_double_precision_runs_through_both_kernels(name):
    model = tiny.model(f"transformer_lm_{name}").double()
    tokens = tiny.left_padded(tiny.tokens(2, 9), [0, 3])
    out = model(tokens)[0]
    model.decoder.kernel = "reference"
    torch.testing.assert_close(model(tokens)[0][:, 3:], out[:, 3:], rtol=1e-5, atol=1e-6)
