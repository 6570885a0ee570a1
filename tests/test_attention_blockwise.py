"""Blockwise attention: tiles are joined, tiles are skipped, memory is linear in length."""

import gc
import math
import weakref

import pytest
import tiny
import torch
from attending import (
    DIM,
    Products,
    assert_all_close,
    case,
    given_positions,
    ours,
    output,
    small_tiles,
    theirs,
    visited,
)
from formulas import END
from torch.utils._python_dispatch import TorchDispatchMode

from nopos_plugin import positions
from nopos_plugin.attention import tiles
from nopos_plugin.attention.blockwise import Room
from nopos_plugin.attention.tiles import ROWS

RELATIVE = ("alibi", "kerple_log", "kerple_power", "t5")
MOVABLE = [name for name in (*RELATIVE, "rope") if positions.get(name).accepts_given]
KINDS = ("chunks", "scattered", "repeated", "swapped", "shuffled")


@pytest.mark.parametrize(
    "size", [(8, 16, 1000), (8, 16, 200), (16, 5, 1), (7, 200, 10**6)], ids=str
)
@pytest.mark.parametrize("name", positions.names())
def test_tiles_join_to_the_formula(name, size, monkeypatch):
    encoding = tiny.encoding(name, num_heads=3, head_dim=DIM)
    small_tiles(monkeypatch, *size)
    for side in ("none", "both"):
        tensors = case(3, 63, side, seed=1)
        for new in (63, 40, 9, 1):
            expected = theirs(encoding, *tensors, new=new)
            assert_all_close(ours(encoding, "blockwise", *tensors, new=new), expected, 1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MOVABLE)
def test_tiles_join_where_positions_jump(name, kind, monkeypatch):
    encoding = tiny.encoding(name, num_heads=3, head_dim=DIM)
    small_tiles(monkeypatch, 8, 16, 200)
    for side in ("none", "left"):
        tensors = case(3, 63, side, seed=2)
        given = given_positions(kind, 3, 63, seed=3)
        for new in (63, 20):
            expected = theirs(encoding, *tensors, given=given, new=new)
            found = ours(encoding, "blockwise", *tensors, given=given, new=new)
            assert_all_close(found, expected, 1e-5)
    # pads see no key near by, and their gradients are rounding, times a large distance's bias
    tensors = case(3, 63, "right", seed=2)
    expected = theirs(encoding, *tensors, given=given)[0]
    tiny.assert_close(output(encoding, "blockwise", *tensors, given=given), expected, 1e-5)


@pytest.mark.parametrize("size", [(8, 16, 200), (256, 2048, 10**6)], ids=str)
@pytest.mark.parametrize("name", positions.names())
def test_window_and_documents_in_tiles(name, size, monkeypatch):
    encoding = tiny.encoding(name, num_heads=3, head_dim=DIM)
    small_tiles(monkeypatch, *size)
    for side in ("none", "both"):
        tokens, *vectors = case(3, 63, side, seed=3)
        tokens[0, [0, 7, 8, 40]] = END
        tokens[1, 30] = END
        for options in (
            {"window": 1},
            {"window": 11},
            {"window": 11, "new": 20},
            {"documents": True},
            {"documents": True, "new": 5},
            {"documents": True, "window": 6, "new": 31},
        ):
            expected = theirs(encoding, tokens, *vectors, **options)
            found = ours(encoding, "blockwise", tokens, *vectors, **options)
            assert_all_close(found, expected, 1e-5)


@pytest.mark.parametrize(
    "name, kind, options",
    [
        ("alibi", None, {}),
        ("kerple_power", None, {"new": 900}),
        ("t5", "chunks", {}),
        ("kerple_log", "repeated", {"new": 2400}),
        ("bipe_alibi", None, {"new": 300}),
        ("rope", None, {"window": 2300}),
    ],
)
def test_tiles_of_the_real_size_join(name, kind, options):
    encoding = tiny.encoding(name, num_heads=2, head_dim=4)
    tokens, *vectors = case(2, 2500, "none", dim=4)
    tensors = [x[:1] for x in (tokens, *vectors)]
    if kind:
        options = {**options, "given": given_positions(kind, 1, 2500)}
    expected = ours(encoding, "reference", *tensors, **options)
    found = ours(encoding, "blockwise", *tensors, **options)
    assert_all_close(found[:4], expected[:4], 5e-6)
    # of sums over 3 million cells the reference itself makes more of an error than of others
    assert_all_close(found[4:], expected[4:], 1e-4)


def steep(name, heads):
    """Encodings whose first head forgets within a few tokens, and whose last never does."""
    encoding = tiny.encoding(name, num_heads=heads, head_dim=DIM)
    if name.startswith("kerple"):
        r1 = torch.tensor([8.0, 0.5, 1e-3, 1e-6])
        encoding.set_kernel(r1[:heads], torch.full((heads,), 1.9))
    return encoding


@pytest.mark.parametrize("factor", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("name", ["alibi", "kerple_log", "kerple_power", "t5", "bipe_alibi"])
def test_skipped_keys_would_have_weighed_nothing(name, factor, monkeypatch):
    """Scores of 1000 and biases of -10000: as near to float64 as the reference is."""
    small_tiles(monkeypatch, 8, 32, 1)
    encoding = steep(name, 4)
    tokens, q, k, v = case(4, 200, "none", seed=5)
    tensors = tokens, factor * q, factor * k, v
    for options in ({}, {"new": 17}, {"window": 90}):
        best = theirs(encoding, *tensors, **options)
        plain = ours(encoding, "reference", *tensors, **options)
        found = ours(encoding, "blockwise", *tensors, **options)
        for x, y, z in zip(found, plain, best, strict=True):
            assert error(x, z) <= 4 * error(y, z) + 1e-6 * max(1.0, factor**2 / 5)  # of scores


def error(actual, expected):
    """The largest, as a part of the largest expected number, or of 1."""
    return (actual - expected).abs().max().item() / max(1.0, expected.abs().max().item())


@pytest.mark.parametrize("kind", [None, "chunks", "repeated"])
def test_a_far_key_weighs_all_where_scores_outdo_the_bias(kind, monkeypatch):
    """The bound on what a far key may weigh is met: q.k is as large as norms allow."""
    small_tiles(monkeypatch, 64, 2048, 1)  # heads one at a time
    encoding = tiny.encoding("alibi", num_heads=3, head_dim=DIM)  # slopes 1/16, 1/256, 1/4
    tokens, _, _, v = case(3, 600, "none", seed=6)
    options = {"given": given_positions(kind, 3, 600)} if kind else {}
    for score in (45.0, 60.0):  # of keys 0 and 9; of the others the negative
        norm = (score * math.sqrt(DIM)) ** 0.5
        q = torch.zeros(3, 3, 600, DIM)
        q[1, 2, :, 3] = norm  # one row, one head
        k = -q
        k[1, 2, [0, 9], 3] = norm
        expected = theirs(encoding, tokens, q, k, v, **options)
        assert_all_close(ours(encoding, "blockwise", tokens, q, k, v, **options), expected, 2e-5)


def test_far_keys_of_steep_heads_are_not_visited(monkeypatch):
    monkeypatch.setattr(tiles, "CELLS", {"cpu": 1})  # heads one at a time
    encoding = steep("kerple_power", 4)
    tokens, q, k, v = (x[:1] for x in case(4, 1024, "none"))
    every = visited(encoding, "reference", tokens, q, k, v)
    assert every == 4 * 1024 * 1024
    # r1 d^1.9 > 44.4 + 2 |q| |k| / sqrt(8)
    bound = 64 * math.log(2) + 2 * q.norm(dim=-1).amax(2) * k.norm(dim=-1).amax(2) / math.sqrt(8)
    reach = (bound[0] / torch.tensor([8.0, 0.5, 1e-3, 1e-6])) ** (1 / 1.9)
    assert reach[0] < 6 and 300 < reach[2] < 700 and reach[3] > 1024
    seen = ROWS * sum(
        stop - max(0, stop - ROWS - int(r)) for r in reach for stop in range(ROWS, 1025, ROWS)
    )
    assert visited(encoding, "blockwise", tokens, q, k, v) == pytest.approx(seen, rel=0.01)
    assert seen < 0.45 * every
    # scores of thousands could outweigh any of these biases but that of the first head
    huge = visited(encoding, "blockwise", tokens, 30 * q, 30 * k, v)
    assert huge > 1.2 * seen
    blocks = sum(range(ROWS, 1025, ROWS)) * ROWS
    assert visited(encoding, "blockwise", tokens, 1000 * q, 1000 * k, v) == 4 * blocks


def test_the_backward_visits_what_the_forward_does():
    encoding = tiny.encoding("alibi", num_heads=8, head_dim=DIM)
    tensors = case(8, 600, "none")
    inputs = [x.requires_grad_() for x in tensors[1:]]
    for options in ({}, {"window": 40}):
        once = visited(encoding, "blockwise", *tensors, **options)
        out = output(encoding, "blockwise", tensors[0], *inputs, **options)
        with Products() as products:
            out.sum().backward()
        assert products.count == 5 * DIM * once


@pytest.mark.parametrize("name", ["nopos", "alibi", "bipe_alibi"])
def test_hidden_tiles_are_not_visited(name):
    encoding = tiny.encoding(name, num_heads=3, head_dim=DIM)
    tokens, *vectors = case(3, 1000, "none")
    causal = visited(encoding, "blockwise", tokens, *vectors)
    assert causal <= 9 * sum(ROWS * stop for stop in range(ROWS, 1025, ROWS))
    narrow = visited(encoding, "blockwise", tokens, *vectors, window=20)
    assert 9 * 1000 * 20 <= narrow <= 9 * 1000 * (20 + ROWS)
    tokens[:, ::100] = END
    documents = visited(encoding, "blockwise", tokens, *vectors, documents=True)
    assert 9 * 10 * 5050 <= documents <= 9 * 1000 * (100 + ROWS)


def footprint(encoding, length, given):
    """Bytes: the largest tensor of a forward and backward, all that is kept for the backward."""
    tokens, *vectors = (x[:1] for x in case(3, length, "none", dim=4))
    tokens[:, ::50] = END
    q, k, v = (x.requires_grad_() for x in vectors)
    kept = {}
    Room.kept.__dict__.clear()

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with Products() as products, torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        out = output(encoding, "blockwise", tokens, q, k, v, given=given)
        out.sum().backward()
    return products.largest, sum(kept.values())


@pytest.mark.parametrize(
    "name, jump", [*((name, False) for name in positions.names()), *((n, True) for n in MOVABLE)]
)
def test_memory_is_linear_in_length(name, jump):
    encoding = tiny.encoding(name, num_heads=3, head_dim=4, max_length=20000)
    short, long = (
        footprint(encoding, length, given_positions("chunks", 1, length) if jump else None)
        for length in (1100, 2200)
    )
    for less, more in zip(short, long, strict=True):
        assert more <= 2.2 * less
    largest, kept = long
    assert largest < 4 * 2200**2 and kept < 4 * 2200**2 / 10


class Subnormal(TorchDispatchMode):
    """Counts subnormal powers of two."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket.__name__.strip("_") == "exp2":
            self.count += int(((out > 0) & (out < 2.0**-126)).sum())
        return out


@pytest.mark.parametrize("factor", [1.0, 12.0])
@pytest.mark.parametrize("name", ["nopos", "alibi", "kerple_power", "bipe_alibi"])
def test_no_weight_is_subnormal(name, factor):
    """With them a product takes some CPUs a hundred times as long."""
    encoding = tiny.encoding(name, num_heads=3, head_dim=DIM)
    tokens, q, k, v = case(3, 400, "none")
    inputs = [x.requires_grad_() for x in (factor * q, factor * k, v)]
    with Subnormal() as found:
        output(encoding, "blockwise", tokens, *inputs).sum().backward()
    assert found.count == 0


def test_a_number_that_is_none_spoils_its_own_query_alone():
    encoding = tiny.encoding("alibi", num_heads=3, head_dim=DIM)
    tokens, q, k, v = case(3, 300, "none")
    expected = output(encoding, "blockwise", tokens, q, k, v)
    q[1, 2, 170] = torch.nan
    out = output(encoding, "blockwise", tokens, q, k, v)
    spoilt = out.isnan().any(-1).nonzero().tolist()
    assert spoilt == [[1, 2, 170]]
    tiny.assert_close(out.nan_to_num(), expected.where(~out.isnan(), 0.0), 1e-6)


def test_inputs_are_freed_without_the_garbage_collector():
    encoding = tiny.encoding("kerple_log", num_heads=3, head_dim=DIM)
    tokens, *vectors = case(3, 100, "none")
    gc.collect()
    gc.disable()
    try:
        inputs = [x.requires_grad_() for x in vectors]
        out = output(encoding, "blockwise", tokens, *inputs)
        out.sum().backward()
        seen = [weakref.ref(x) for x in (out, *inputs)]
        del out, inputs, vectors
        assert [ref() for ref in seen] == [None] * 4
    finally:
        gc.enable()
