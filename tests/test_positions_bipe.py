"""BiPE: both ids against golden cases, separators by symbol, the inner and the outer encoding."""

import re
from types import SimpleNamespace

import pytest
import tiny
import torch

from nopos_plugin.attention import AttentionContext, attend
from nopos_plugin.positions.bipe import segment_positions

IDS = tiny.golden("bilevel_ids")
SLOPES = tiny.golden("alibi_slopes")
CASES = {case["name"]: case for case in IDS["cases"]}
# the compatibility set of the release, by its pieces
PIECES = {piece: int(number) for number, piece in IDS["tokenizer"]["pieces"].items()}
NAMES = ["bipe_alibi", "bipe_rope"]


def llama(pad=-1):
    """A dictionary with the pieces and ids of the golden cases, which have pads in few places."""
    return SimpleNamespace(pad=lambda: pad, indices=PIECES)


def pad_of(case):
    return {"right_padding_id_0": 0, "pad_id_31999_continues": 31999}.get(case["name"], -1)


def retyped(row, separators, pad):
    """[(segment, tokens since it began)] by the law: separators before, from the first token on."""
    first = next((i for i, token in enumerate(row) if token != pad), 0)
    ids = []
    for t in range(len(row)):
        closed = [u for u in range(first, t) if row[u] in separators]
        ids.append((len(closed), t - 1 - closed[-1] if closed else max(t - first, 0)))
    return ids


@pytest.mark.parametrize("name", CASES)
def test_golden_ids(name):
    case = CASES[name]
    tokens = torch.tensor(case["input"])
    separators = torch.tensor(case["separators"])
    order, within = segment_positions(tokens, separators, pad_of(case))
    assert order.tolist() == case["inter"]
    assert within.clamp(max=case["max_intra"] - 1).tolist() == case["intra"]
    assert order.dtype == within.dtype == torch.int64
    for row, *ids in zip(case["input"], case["inter"], within.tolist(), strict=True):
        assert list(zip(*ids, strict=True)) == retyped(row, case["separators"], pad_of(case))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("encoding", NAMES)
def test_table_is_looked_up_at_the_golden_ids(encoding, name):
    case = CASES[name]
    made = tiny.encoding(
        encoding,
        f"separators=▁.|<0x0A>,size={case['max_intra']}",
        dictionary=llama(pad_of(case)),
        embed_dim=5,
    )
    placed = made.positions(torch.tensor(case["input"]))
    assert placed.order.tolist() == case["inter"] and not placed.consecutive
    x = torch.randn(*placed.order.shape, 5)
    table = made.weight.detach().clone()
    assert table.shape == (case["max_intra"], 5)
    out = made.embed(x, placed)
    assert torch.equal(out, x + table[torch.tensor(case["intra"])])
    out.sum().backward()
    uses = torch.tensor(case["intra"]).flatten().bincount(minlength=len(table))
    assert torch.equal(made.weight.grad, uses.float().unsqueeze(1).expand(-1, 5))


def test_long_segments_share_the_last_row():
    tokens = torch.tensor([[7] * 1500 + [13] + [7] * 3])
    made = tiny.encoding("bipe_rope", "separators=<0x0A>", dictionary=llama(), embed_dim=4)
    placed = made.positions(tokens)
    rows = made.embed(torch.zeros(1, 1504, 4), placed)[0]
    for key, expected in IDS["clamp_long"]["expected"].items():
        which, start, stop = re.match(r"(\w+)\[(\d+):?(\d*)\]", key).groups()
        cells = slice(int(start), int(stop)) if stop else int(start)
        if which == "inter":
            assert placed.order[0, cells].item() == expected, key
        else:
            assert torch.equal(rows[cells], made.weight[expected]), key


@pytest.mark.parametrize("case", IDS["tokenizer"]["cases"], ids=lambda case: repr(case["text"]))
def test_tokenizer_cases(case):
    made = tiny.encoding("bipe_alibi", "separators=▁.|<0x0A>", dictionary=llama(), embed_dim=4)
    placed = made.positions(torch.tensor([case["ids"]]))
    assert placed.order.tolist() == [case["inter"]]
    assert placed.within.tolist() == [case["intra"]]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length", [1, 2, 63, 100])
def test_left_pads_are_not_counted(name, length):
    made = tiny.encoding(name)
    pad = made.padding_idx
    tokens = tiny.tokens(3, length, seed=length)
    plain = made.positions(tokens)
    for row, *ids in zip(tokens.tolist(), plain.order.tolist(), plain.within.tolist(), strict=True):
        assert list(zip(*ids, strict=True)) == retyped(row, (4, 2), pad)
    shifts = (0, 1, 7)
    padded = torch.full((3, length + 7), pad)
    for row, shift in enumerate(shifts):
        padded[row, shift : shift + length] = tokens[row]  # pads on the right as well
    placed = made.positions(padded)
    for row, shift in enumerate(shifts):
        assert torch.equal(placed.order[row, shift : shift + length], plain.order[row])
        assert torch.equal(placed.within[row, shift : shift + length], plain.within[row])


@pytest.mark.parametrize("name", NAMES)
def test_separators_are_symbols(name):
    words = tiny.dictionary()  # . is 4, w7 is 11
    tokens = torch.tensor([[11, 5, 4, 6, 2, 11, 6]])

    def order(arguments="", **shape):
        made = tiny.encoding(name, arguments, **{"dictionary": words, **shape})
        return made.positions(tokens).order.tolist()[0]

    assert order() == [0, 0, 0, 1, 1, 2, 2]  # . and </s>
    assert order("separators=w7") == [0, 1, 1, 1, 1, 1, 2]
    assert order("separators=w7|.") == [0, 1, 1, 2, 2, 2, 3]
    assert order(separators=("w1", "w2")) == [0, 0, 1, 1, 2, 2, 2]  # the manifest's
    assert order("separators=w7", separators=("w1", "w2")) == [0, 1, 1, 1, 1, 1, 2]
    gpt2 = SimpleNamespace(pad=lambda: 1, indices={"13": 11, "198": 6})
    assert order("separators=@gpt2", dictionary=gpt2) == [0, 1, 1, 1, 2, 2, 3]


@pytest.mark.parametrize(
    "arguments, named", [("separators=w7|nowhere", "'nowhere'"), ("separators=@gpt2", "'198'")]
)
def test_absent_separators_are_refused(arguments, named):
    with pytest.raises(
        ValueError, match="--position-args separators=.*the dictionary has no"
    ) as error:
        tiny.encoding("bipe_rope", arguments)
    assert named in str(error.value)


def test_own_positions_cannot_be_given_and_a_table_needs_a_row():
    with pytest.raises(ValueError, match="--position-encoding bipe_rope makes its own positions"):
        tiny.encoding("bipe_rope").positions(tiny.tokens(1, 5), torch.arange(5).unsqueeze(0))
    with pytest.raises(ValueError, match="--position-args size=0: bipe_alibi needs at least 1 row"):
        tiny.encoding("bipe_alibi", "size=0")
    one = tiny.encoding("bipe_alibi", "size=1")
    rows = one.embed(torch.zeros(1, 9, 32), one.positions(tiny.tokens(1, 9)))
    assert torch.equal(rows, one.weight.expand(1, 9, -1))


@pytest.mark.parametrize("heads", SLOPES["slopes"])
def test_alibi_slopes_are_the_golden_ones_times_96(heads):
    made = tiny.encoding("bipe_alibi", num_heads=int(heads))
    bias = made.bias(torch.arange(int(heads)), torch.ones(int(heads), dtype=torch.long), 0)
    expected = torch.tensor(SLOPES["slopes"][heads]["bipe_alibi"])
    torch.testing.assert_close(-bias, expected, rtol=1e-6, atol=0)  # seven digits are kept
    plain = tiny.encoding("bipe_alibi", "multiplier=1,slopes=nopos_fork", num_heads=12)
    first = [2.0 ** (-8 * (h + 1) / 12) for h in range(8)]
    assert list(plain.slopes[:8]) == pytest.approx(first, rel=1e-15)


def test_alibi_bias_of_the_golden_segments():
    example = SLOPES["segment_bias_example"]
    made = tiny.encoding(
        "bipe_alibi", "separators=▁.|<0x0A>", dictionary=llama(), num_heads=example["heads"]
    )
    order = made.positions(torch.tensor([example["input"]])).order
    assert order.tolist() == [example["segment"]]
    for row in example["rows"]:
        bias = made.bias(row["head"], order[0, -1] - order[0], 0)
        torch.testing.assert_close(bias, torch.tensor(row["bias"]), rtol=1e-6, atol=0)


def test_rope_turns_by_the_golden_segment():
    case = CASES["batch_rows_independent"]
    made = tiny.encoding("bipe_rope", "separators=▁.|<0x0A>", dictionary=llama(), head_dim=6)
    order = made.positions(torch.tensor(case["input"])).order
    q, k = torch.randn(3, 4, 6, 6), torch.randn(3, 4, 6, 6)
    rates = torch.tensor([10000 ** (-2 * i / 6) for i in range(3)], dtype=torch.float64)
    angles = torch.tensor(case["inter"]).double()[:, None, :, None] * rates
    for x, y in zip((q, k), made.rotate(q, k, made.rotation(order, order)), strict=True):
        pairs = torch.complex(*x.double().chunk(2, -1)) * torch.polar(
            torch.ones_like(angles), angles
        )
        tiny.assert_close(y, torch.cat([pairs.real, pairs.imag], -1), 5e-7)


@pytest.mark.parametrize("name", NAMES)
def test_sinusoidal_inner_encoding_has_no_table_and_no_end(name):
    made = tiny.encoding(
        name, "inner=sinusoidal,separators=<0x0A>", dictionary=llama(), embed_dim=16
    )
    placed = made.positions(torch.tensor([[7] * 1100 + [13, 7, 7]]))
    index = torch.tensor([*range(1101), 0, 1], dtype=torch.float64).unsqueeze(1)
    angles = index * torch.tensor([10000 ** (-i / 7) for i in range(8)], dtype=torch.float64)
    rows = made.embed(torch.zeros(1, 1103, 16), placed)[0]
    # float32 angles up to 1100, as in stock fairseq's sinusoid
    tiny.assert_close(rows, torch.cat([angles.sin(), angles.cos()], -1), 2e-4)
    assert not list(made.parameters())


def test_a_thousand_segments_are_finite_in_float16():
    # In the release head 8 is infinite from segment 966 on, and the whole batch NaN.
    made = tiny.encoding("bipe_alibi", "separators=<0x0A>", dictionary=llama(), num_heads=12)
    order = made.positions(torch.full((1, 1024), 13)).order
    assert order.tolist() == [list(range(1024))]
    q, k, v = (torch.randn(1, 12, 1024, 8).half().requires_grad_() for _ in range(3))
    context = AttentionContext(made, order, order, consecutive=False, kernel="sdpa")
    out = attend(q, k, v, context, 0)
    out.float().sum().backward()
    distance = order.double().T - order
    slope = torch.tensor(SLOPES["slopes"]["12"]["bipe_alibi"], dtype=torch.float64).view(12, 1, 1)
    scores = q.detach().double() @ k.detach().double().mT / 8**0.5 - slope * distance
    weights = scores.masked_fill(distance < 0, -torch.inf).softmax(-1)
    tiny.assert_close(out, weights @ v.detach().double(), 2e-3)
    assert all(x.grad.isfinite().all() for x in (q, k, v))
