"""Learned and sinusoidal embeddings: stock fairseq's bit by bit, and the formula in float64."""

import pytest
import tiny
import torch
from fairseq.modules import PositionalEmbedding

PAD = 1
LENGTHS = [1, 2, 63, 100]


def padded(length, side):
    """Three rows with no pads, some, and all but one, on the `side`."""
    tokens = tiny.tokens(3, length, seed=length)
    for row, pads in ((1, length // 3), (2, length - 1)):
        cells = slice(0, pads) if side == "left" else slice(length - pads, length)
        tokens[row, cells] = PAD
    return tokens


def embed(encoding, tokens, x):
    return encoding.embed(x, encoding.positions(tokens))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dim", [4, 12, 33, 48])
def test_sinusoidal_is_stock_fairseq_bit_by_bit(dim, length, side):
    encoding = tiny.encoding("sinusoidal", embed_dim=dim, max_length=8)  # longer ones run
    stock = PositionalEmbedding(8, dim, PAD, learned=False)
    x = torch.randn(3, length, dim)
    for tokens in (padded(length, side), tiny.tokens(3, length)):
        assert torch.equal(embed(encoding, tokens, x), x + stock(tokens))
    assert encoding.max_positions is None and not encoding.state_dict().keys() - {"_extra_state"}


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dim", [4, 33])
def test_learned_is_stock_fairseq_bit_by_bit(dim, length, side):
    encoding = tiny.encoding("learned", embed_dim=dim, max_length=100)
    stock = PositionalEmbedding(100, dim, PAD, learned=True)
    stock.load_state_dict({"weight": encoding.weight})
    x, grad = torch.randn(3, length, dim), torch.randn(3, length, dim)
    for tokens in (padded(length, side), tiny.tokens(3, length)):
        ours, theirs = embed(encoding, tokens, x), x + stock(tokens)
        assert torch.equal(ours, theirs)
        ours.backward(grad)
        theirs.backward(grad)
    assert torch.equal(encoding.weight.grad, stock.weight.grad)
    assert not encoding.weight.grad[PAD].any() and encoding.weight.grad[PAD + 1].any()


def test_learned_rows_are_counts_of_real_tokens():
    encoding = tiny.encoding("learned", embed_dim=2, max_length=6)
    assert encoding.weight.shape == (8, 2) and not encoding.weight[PAD].any()
    tokens = torch.tensor([[5, 6, 7, 8], [PAD, PAD, 5, 6], [5, 6, PAD, PAD]])
    rows = embed(encoding, tokens, torch.zeros(3, 4, 2))
    expected = torch.tensor([[2, 3, 4, 5], [1, 1, 2, 3], [2, 3, 1, 1]])
    assert torch.equal(rows, encoding.weight[expected])


def test_learned_starts_like_stock():
    weight = tiny.encoding("learned", embed_dim=100, max_length=500).weight[2:]
    # 50,000 draws with deviation 1/10: five standard errors
    assert weight.std().item() == pytest.approx(0.1, rel=5 / 100_000**0.5)
    assert weight.mean().item() == pytest.approx(0, abs=5 * 0.1 / 50_000**0.5)


@pytest.mark.parametrize("dim", [4, 48])
def test_sinusoidal_is_the_formula(dim):
    # tensor2tensor's: 10000^(-k/(dim/2 - 1)), sines then cosines; the first token has row 2
    encoding = tiny.encoding("sinusoidal", embed_dim=dim)
    rows = embed(encoding, tiny.tokens(1, 100), torch.zeros(1, 100, dim))[0]
    rates = [10000 ** (-k / (dim // 2 - 1)) for k in range(dim // 2)]
    angles = torch.arange(2, 102).double().unsqueeze(1) * torch.tensor(rates, dtype=torch.float64)
    expected = torch.cat([angles.sin(), angles.cos()], -1)
    tiny.assert_close(rows, expected, 2e-5)  # float32 angles up to 101


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_sinusoidal_of_few_channels_is_finite(dim):
    # stock fairseq divides by zero at 2 and 3
    rows = embed(
        tiny.encoding("sinusoidal", embed_dim=dim), tiny.tokens(1, 5), torch.zeros(1, 5, dim)
    )
    expected = torch.zeros(5, dim, dtype=torch.float64)
    if dim > 1:
        expected[:, 0], expected[:, 1] = (
            f(torch.arange(2, 7).double()) for f in (torch.sin, torch.cos)
        )
    tiny.assert_close(rows[0], expected, 1e-6)


@pytest.mark.parametrize("name", ["learned", "sinusoidal"])
def test_given_positions_replace_the_count(name):
    encoding = tiny.encoding(name, max_length=50)
    plain = embed(encoding, tiny.tokens(1, 50), torch.zeros(1, 50, 32))
    given = torch.tensor([[0, 1, 30, 31, 49], [3, 4, 5, 20, 21]])
    placed = encoding.positions(tiny.tokens(2, 5), given)
    assert not placed.consecutive
    assert torch.equal(encoding.embed(torch.zeros(2, 5, 32), placed), plain[0, given])


def test_learned_names_its_end():
    encoding = tiny.encoding("learned", max_length=64)
    assert encoding.max_positions == 64
    assert encoding.positions(tiny.tokens(1, 64)).consecutive
    sentence = (
        "--position-encoding learned ends at 64 tokens, and a sequence has 65: use "
        "--tokens-per-sample 64 or less, or train with --max-target-positions 65 or more"
    )
    for given in (None, torch.tensor([[0, 1, 64]])):
        with pytest.raises(ValueError) as error:
            encoding.positions(tiny.tokens(1, 65 if given is None else 3), given)
        assert str(error.value) == sentence


@pytest.mark.parametrize("name", ["learned", "sinusoidal"])
@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16])
def test_half_precision_sums_keep_the_dtype(name, dtype):
    encoding = tiny.encoding(name)
    x = torch.randn(2, 63, 32, dtype=dtype)
    exact = embed(encoding, tiny.tokens(2, 63), x.float()).double()
    ours = embed(encoding.to(dtype), tiny.tokens(2, 63), x)
    assert ours.dtype == dtype
    unit = 2**-11 if dtype == torch.half else 2**-8
    tiny.assert_close(ours, exact, 2 * unit)  # the row rounded, and the sum
