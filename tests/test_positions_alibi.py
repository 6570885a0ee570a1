"""ALiBi: slopes against golden numbers, the bias in both of its forms, low precision."""

import math

import pytest
import tiny
import torch

from nopos_plugin.positions.alibi import nopos_fork_slopes, standard_slopes

GOLDEN = tiny.golden("alibi_slopes")


def released_slopes(heads):
    """The rule of the ALiBi release, retyped."""
    if math.log2(heads).is_integer():
        return [2.0 ** (-8 * (h + 1) / heads) for h in range(heads)]
    closest = 2 ** math.floor(math.log2(heads))
    return released_slopes(closest) + released_slopes(2 * closest)[0::2][: heads - closest]


@pytest.mark.parametrize("heads", GOLDEN["powers_of_two"]["exponents"])
def test_standard_slopes_are_the_golden_powers_of_two(heads):
    expected = [2.0**-exponent for exponent in GOLDEN["powers_of_two"]["exponents"][heads]]
    assert standard_slopes(int(heads)) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("heads", GOLDEN["slopes"])
def test_standard_slopes_are_those_of_other_releases(heads):
    # seven digits are kept
    assert standard_slopes(int(heads)) == pytest.approx(GOLDEN["slopes"][heads]["alibi"], rel=1e-6)
    assert standard_slopes(32) == pytest.approx(GOLDEN["float32_slopes"]["32"], rel=1e-6)


@pytest.mark.parametrize("heads", range(1, 65))
def test_both_rules_at_every_head_count(heads):
    closest = 2 ** math.floor(math.log2(heads))
    fork = [2.0 ** (-8 * (h + 1) / heads) for h in range(closest)]
    assert standard_slopes(heads) == pytest.approx(released_slopes(heads), rel=1e-15)
    assert nopos_fork_slopes(heads) == pytest.approx(
        fork + released_slopes(heads)[closest:], rel=1e-15
    )
    assert len(standard_slopes(heads)) == len(nopos_fork_slopes(heads)) == heads


def test_nopos_fork_slopes_at_twelve_heads():
    assert nopos_fork_slopes(12) == pytest.approx(GOLDEN["nopos_fork"]["12"], abs=5e-5)
    assert nopos_fork_slopes(16) == standard_slopes(16)


@pytest.mark.parametrize("rule", ["standard", "nopos_fork"])
@pytest.mark.parametrize("heads", [1, 3, 6, 12])
def test_bias_is_minus_slope_times_distance(heads, rule):
    encoding = tiny.encoding("alibi", f"slopes={rule}", num_heads=heads)
    slopes = released_slopes(heads)
    if rule == "nopos_fork":
        closest = 2 ** math.floor(math.log2(heads))
        slopes[:closest] = [2.0 ** (-8 * (h + 1) / heads) for h in range(closest)]
    distance = torch.tensor([0, 1, 2, 63, 511, 16383, 131071])
    bias = encoding.bias(torch.arange(heads).unsqueeze(1), distance, 0)
    expected = -torch.tensor(slopes, dtype=torch.float64).unsqueeze(1) * distance
    assert bias.dtype == torch.float32
    torch.testing.assert_close(bias.double(), expected, rtol=2e-7, atol=0)  # two float32 roundings
    assert (bias[:, 0] == 0).all() and (bias <= 0).all()


def attention(length, seed):
    """Scores of a last query ~ N(0, 1), 8 heads, and its attention in float64, each (8, length)."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(8, length, generator=generator)
    slopes = torch.tensor(released_slopes(8), dtype=torch.float64).unsqueeze(1)
    distance = torch.arange(length - 1, -1, -1, dtype=torch.float64)
    return scores, (scores.double() - slopes * distance).softmax(-1)


def our_bias(length):
    distance = torch.arange(length - 1, -1, -1)
    return tiny.encoding("alibi", num_heads=8).bias(torch.arange(8).unsqueeze(1), distance, 0)


def total_variation(p, q):
    return (p.double() - q.double()).abs().sum(-1).max().item() / 2


@pytest.mark.parametrize("length, bound", [(512, 1e-5), (16384, 3e-4)])
def test_relative_form_equals_the_column_form_of_the_release(length, bound):
    # The release adds slope * key, whose float32 rounding grows with the length: hence the bounds.
    scores, exact = attention(length, seed=0)
    column = torch.tensor(released_slopes(8)).unsqueeze(1) * torch.arange(length)
    ours = (scores + our_bias(length)).softmax(-1)
    assert total_variation(ours, (scores + column).softmax(-1)) < bound
    assert total_variation(ours, exact) < 1e-7


@pytest.mark.parametrize("dtype, bound", [(torch.half, 5e-4), (torch.bfloat16, 5e-3)])
@pytest.mark.parametrize("length", [512, 3072, 16384])
def test_low_precision_error_does_not_grow_with_length(length, dtype, bound):
    errors = []
    for seed in range(10):
        scores, exact = attention(length, seed)
        added = scores.to(dtype) + our_bias(length).to(dtype)
        errors.append(total_variation(added.float().softmax(-1), exact))
    assert sum(errors) / len(errors) < bound
