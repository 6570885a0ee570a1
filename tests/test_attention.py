"""The reference is the formula in float64, and every kernel is the reference."""

import contextlib
import math

import attending
import pytest
import tiny
import torch
from attending import DIM, assert_all_close, case, given_positions, ours, output, theirs
from formulas import BIASES, FAMILIES, PAD, order_of, turned

from nopos_plugin import positions
from nopos_plugin.attention import AttentionContext
from nopos_plugin.attention.attend import announce, choose

LENGTHS, HEADS, SIDES = (1, 2, 63, 100), (3, 8, 12), ("none", "left", "right", "both")
KERNELS, FORWARD = attending.kernels(), attending.kernels(gradient=False)
OTHERS = [kernel for kernel in KERNELS if kernel != "reference"]
KINDS = ("chunks", "scattered", "repeated", "swapped", "shuffled")
MOVABLE = [name for name in FAMILIES if positions.get(name).accepts_given]


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
            expected = theirs(encoding, *tensors, new=new)
            assert_all_close(ours(encoding, "reference", *tensors, new=new), expected, 5e-6)


def layouts(name, length):
    """Pads of the tokens, with a number of new queries or given positions."""
    if length <= 100:
        made = [(side, {"new": new}) for side in SIDES for new in queries_of(length)]
    else:
        made = [("none", {}), ("both", {"new": 130})]
    if positions.get(name).accepts_given:
        chunks = given_positions("chunks", 3, length)
        made += [("left", {"given": chunks}), ("none", {"given": chunks, "new": 1 + length // 3})]
    return made


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("length", (*LENGTHS, 513))
@pytest.mark.parametrize("name", positions.names())
def test_every_kernel_is_the_reference(name, length, heads):
    encoding = tiny.encoding(name, num_heads=heads, head_dim=DIM, max_length=5000)
    for side, options in layouts(name, length):
        tensors = case(heads, length, side, seed=length + 1)
        expected = ours(encoding, "reference", *tensors, **options)
        for kernel in OTHERS:
            found = ours(encoding, kernel, *tensors, **options)
            assert_all_close(found[:4], expected[:4], 5e-6)
            # a parameter's is a sum over up to 3 * 12 * 513 * 513 cells, in the reference too
            assert_all_close(found[4:], expected[4:], 5e-6 if length <= 100 else 5e-5)


@pytest.mark.parametrize("name", positions.names())
def test_every_kernel_gives_the_values_without_a_gradient(name):
    encoding = tiny.encoding(name, num_heads=3, head_dim=DIM)
    for length, new, side in ((2, 1, "none"), (63, 63, "none"), (100, 33, "both")):
        tensors = case(3, length, side)
        expected = ours(encoding, "reference", *tensors, new=new)[0]
        for kernel in (*FORWARD, "auto"):
            with torch.inference_mode():
                found = output(encoding, kernel, *tensors, new=new)
            tiny.assert_close(found, expected, 5e-6)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", MOVABLE)
def test_given_positions(name, kernel):
    encoding = tiny.encoding(name, num_heads=3, head_dim=DIM, max_length=5000)
    tensors = case(3, 63, "none")
    for kind in KINDS:
        given = given_positions(kind, 3, 63)
        for options in ({"given": given}, {"given": given, "new": 20}, {"given": given[:1]}):
            expected = theirs(encoding, *tensors, **options)
            assert_all_close(ours(encoding, kernel, *tensors, **options), expected, 1e-5)


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


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", ["nopos", "kerple_log"])
def test_what_needs_no_gradient_gets_none(name, kernel):
    """Keys of a cache, say; or all but the encoding's parameters."""
    encoding = tiny.encoding(name, num_heads=3, head_dim=DIM)
    tokens, *vectors = case(3, 40, "none")
    _, *expected = ours(encoding, "reference", tokens, *vectors, new=13)
    leaves = [*vectors, *attending.trained(encoding)]
    for wanted in [{0}, {1}, {2}, {0, 2}, *({number} for number in range(3, len(leaves)))]:
        leaves = [x.detach().clone() for x in vectors] + attending.trained(encoding)
        for number, leaf in enumerate(leaves):
            leaf.grad = None
            leaf.requires_grad_(number in wanted)
        out = output(encoding, kernel, tokens, *leaves[:3], new=13)
        (out * attending.upstream(out)).sum().backward()
        for number, leaf in enumerate(leaves):
            assert (leaf.grad is not None) == (number in wanted)
            if number in wanted:
                tiny.assert_close(leaf.grad, expected[number], 5e-6)


def plain(name, weights, tokens, q, k, v):
    """Attention in the dtype of q, softmax and sums in float32, as one writes it down."""
    q, k, v = (x.clone().requires_grad_() for x in (q, k, v))
    weights = {key: w.clone().requires_grad_() for key, w in weights.items()}
    order = order_of(name, tokens)
    turned_q, turned_k = q, k
    if "rope" in name:
        turned_q, turned_k = (turned(x.double(), order).to(q.dtype) for x in (q, k))
    scores = (turned_q @ turned_k.mT).float() / math.sqrt(DIM)
    if name in BIASES:
        distance = (order.unsqueeze(2) - order.unsqueeze(1)).unsqueeze(1).double()
        scores = scores + BIASES[name](weights, distance.clamp(min=0), 3).to(q.dtype).float()
    hidden = torch.ones(scores.shape[-2:]).triu(1).bool()
    out = scores.masked_fill(hidden, -torch.inf).softmax(-1).to(q.dtype) @ v
    (out.float() * attending.upstream(out)).sum().backward()
    params = [w.grad for w in weights.values() if w.grad is not None]
    return [out.detach(), q.grad, k.grad, v.grad, *params]


@pytest.mark.parametrize("dtype, autocast", [("half", 0), ("bfloat16", 0), ("bfloat16", 1)])
@pytest.mark.parametrize("kernel", (*KERNELS, "auto"))
@pytest.mark.parametrize("name", FAMILIES)
def test_low_precision_is_as_good_as_a_plain_one(name, kernel, dtype, autocast):
    """The output and all gradients."""
    dtype = getattr(torch, dtype)
    encoding = tiny.encoding(name, num_heads=3, head_dim=DIM).to(dtype)
    tokens, *vectors = case(3, 100, "none")
    rounded = [x.to(dtype) for x in vectors]
    best = theirs(encoding, tokens, *rounded)
    weights = {key: p.detach().double() for key, p in encoding.named_parameters()}
    rough = plain(name, weights, tokens, *rounded)
    with torch.autocast("cpu", dtype) if autocast else contextlib.nullcontext():
        found = ours(encoding, kernel, tokens, *rounded)
    if kernel == "blockwise" and autocast:  # which it leaves aside
        alone = ours(encoding, kernel, tokens, *rounded)
        assert all(torch.equal(x, y) for x, y in zip(found, alone, strict=True))
    assert [x.dtype for x in found[:4]] == 4 * [dtype]
    assert all(x.dtype == torch.float for x in found[4:])

    def error(x, exact):
        return (x.double() - exact).square().mean().sqrt().item()

    for number, (x, y, z) in enumerate(zip(found, rough, best, strict=True)):
        # errors of a few parameters are few draws: chance may favour the plain ones
        chance = torch.finfo(dtype).eps * z.abs().max().item() if number > 3 else 0.0
        assert error(x, z) <= 2 * error(y, z) + chance


@pytest.mark.parametrize("name", ["nopos", "alibi"])
def test_double_precision_runs_through_every_kernel(name):
    model = tiny.model(f"transformer_lm_{name}").double()
    tokens = tiny.left_padded(tiny.tokens(2, 9), [0, 3])
    model.decoder.kernel = "reference"
    expected = model(tokens)[0]
    for kernel in (*KERNELS, "auto"):
        model.decoder.kernel = kernel
        out = model(tokens)[0]
        assert out.dtype == torch.double
        torch.testing.assert_close(out[:, 3:], expected[:, 3:], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name, new, dropout, options, chosen",
    [
        ("nopos", 9, 0.0, {}, "sdpa"),
        ("nopos", 1, 0.0, {}, "sdpa"),
        ("nopos", 4, 0.0, {}, "blockwise"),
        ("nopos", 9, 0.1, {}, "blockwise"),
        ("rope", 9, 0.0, {"window": 9}, "sdpa"),
        ("rope", 9, 0.0, {"window": 8}, "blockwise"),
        ("rope", 1, 0.0, {"window": 3}, "sdpa"),
        ("rope", 9, 0.0, {"key_pads": torch.eye(2, 9).bool()}, "blockwise"),
        ("rope", 9, 0.0, {"first_key": torch.zeros(2, 9).long()}, "blockwise"),
        ("alibi", 9, 0.0, {}, "blockwise"),
        ("alibi", 4, 0.0, {}, "blockwise"),
        ("alibi", 1, 0.0, {}, "sdpa"),
        ("t5", 9, 0.1, {}, "blockwise"),
        ("alibi", 9, 0.0, {"kernel": "sdpa"}, "sdpa"),
        ("nopos", 9, 0.0, {"kernel": "blockwise"}, "blockwise"),
    ],
)
def test_auto_chooses_by_rules_on_the_cpu(name, new, dropout, options, chosen):
    order = torch.arange(9).unsqueeze(0)
    context = AttentionContext(
        tiny.encoding(name), order[:, 9 - new :], order, consecutive=True, **options
    )
    kernel, reason = choose(torch.zeros(2, 4, new, 8), context, 0, dropout)
    assert kernel == chosen
    assert (reason == "as asked") == ("kernel" in options)


@pytest.mark.parametrize("name", positions.names())
def test_auto_gives_the_bits_of_what_it_chose(name):
    encoding = tiny.encoding(name, num_heads=3, head_dim=DIM)
    for side, new in (("none", 63), ("none", 1), ("none", 9), ("both", 63)):
        tensors = case(3, 63, side)
        single = new == 1 or (name not in BIASES and (new, side) == (63, "none"))
        expected = ours(encoding, "sdpa" if single else "blockwise", *tensors, new=new)
        found = ours(encoding, "auto", *tensors, new=new)
        assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))


def test_the_log_says_once_which_kernel_and_why(caplog):
    announce.cache_clear()
    model = tiny.model("transformer_lm_alibi")
    for length in (20, 30):
        tiny.logits(model, tiny.tokens(2, length))
    said = [record.message for record in caplog.records if "attention kernel" in record.message]
    assert said == [
        "attention kernel: blockwise (memory linear in length with a bias, a mask or dropout)"
    ]
