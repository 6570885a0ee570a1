"""Jensen-Shannon distance of attention weights, and how far back they look."""

import math

import pytest
import torch

from nopos_plugin.evaluation.divergence import jensen_shannon, most_attended, of_heads


def kullback_leibler(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a)


def by_definition(p, q):
    mixed = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    return (kullback_leibler(p, mixed) + kullback_leibler(q, mixed)) / 2


def draw(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).mul(3).softmax(-1)


def test_the_divergence_is_its_definition():
    p, q = draw(5, 7), draw(5, 7, seed=2)
    expected = [by_definition(*pair) for pair in zip(p.tolist(), q.tolist(), strict=True)]
    assert jensen_shannon(p, q).tolist() == pytest.approx(expected, rel=1e-12)
    assert jensen_shannon(q, p).tolist() == pytest.approx(expected, rel=1e-12)


def test_it_is_zero_to_ln_2_where_there_are_zeros():
    one, other = torch.eye(3, dtype=torch.float64)[:2]
    assert jensen_shannon(one, other).item() == pytest.approx(math.log(2))
    assert jensen_shannon(one, one).item() == 0
    half = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    assert jensen_shannon(one, half).item() == pytest.approx(
        by_definition([1, 0, 0], half.tolist())
    )


def test_every_pair_of_heads_is_compared_over_the_queries_that_count():
    p, q = draw(2, 3, 4, 4), draw(2, 2, 4, 4, seed=2)
    real = torch.tensor([[True] * 4, [True, True, False, False]])
    found = of_heads(p, q, real)
    for row in range(2):
        for head in range(3):
            for other in range(2):
                distances = [
                    math.sqrt(by_definition(p[row, head, i].tolist(), q[row, other, i].tolist()))
                    for i in range(int(real[row].sum()))
                ]
                mean = sum(distances) / len(distances)
                assert found[row, head, other].item() == pytest.approx(mean, rel=1e-9)


def test_the_most_attended_key_is_so_far_back():
    weights = torch.tensor(
        [[1, 0, 0, 0], [0.7, 0.3, 0, 0], [0.2, 0.2, 0.6, 0], [0.1, 0.6, 0.2, 0.1]]
    )
    assert most_attended(weights[None, None]).flatten().tolist() == pytest.approx(
        [0, 1 / 2, 0, 2 / 4]
    )


def test_equal_weights_are_no_distance_apart():
    """As float32 rounds them: its own entropies would set them up to a thousandth apart."""
    draw = torch.Generator().manual_seed(2)
    p = torch.randn(1, 1, 50, 50, generator=draw).softmax(-1)
    q = p.log().softmax(-1)
    assert of_heads(p, q, torch.ones(1, 50, dtype=torch.bool)).item() < 1e-6
