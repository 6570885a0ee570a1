"""T5's bias: the edges of its buckets, the formula retyped, the gradient of its table."""

import math

import pytest
import tiny
import torch

from nopos_plugin.positions.t5 import bucket_starts

# chijames/KERPLE@25be3d7 and T5 itself, measured in float32 and in float64
STARTS = {
    (32, 128): [16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113],
    (32, 512): [16, 20, 25, 31, 39, 48, 59, 73, 91, 113, 140, 174, 216, 268, 332, 413],
}
SIZES = [(32, 128), (32, 512), (2, 2), (8, 64), (16, 2048), (33, 100), (64, 4096), (32, 17)]


def bucket(distance, buckets, max_distance):
    """The paper's formula in float64. At an exact power ln leaves a hair, which is put right."""
    exact = buckets // 2
    if distance < exact:
        return distance
    wide = buckets - exact
    steps = wide * math.log(distance / exact) / math.log(max_distance / exact)
    whole = round(steps) if abs(steps - round(steps)) < 1e-9 else math.floor(steps)
    return min(exact + whole, buckets - 1)


def heads_by_distance(encoding, distance):
    """(H, N) bias"""
    return encoding.bias(torch.arange(encoding.shape.num_heads).unsqueeze(1), distance, 0)


@pytest.mark.parametrize("size", STARTS)
def test_bucket_starts(size):
    assert list(bucket_starts(*size)) == list(range(16)) + STARTS[size]


@pytest.mark.parametrize("buckets, max_distance", SIZES)
@pytest.mark.parametrize("heads", [1, 3, 12])
def test_bias_is_the_table_at_the_bucket(heads, buckets, max_distance):
    encoding = tiny.encoding(
        "t5", f"buckets={buckets},max_distance={max_distance}", num_heads=heads
    )
    distance = torch.cat([torch.arange(2001), torch.tensor([16383, 131071])])
    expected = [bucket(d, buckets, max_distance) for d in distance.tolist()]
    assert max(expected) == buckets - 1 and sorted(expected) == expected
    table = encoding.weight.detach()
    assert table.shape == (buckets, heads)
    assert torch.equal(heads_by_distance(encoding, distance), table[expected].T)


@pytest.mark.parametrize("buckets, max_distance", SIZES)
def test_gradient_of_the_table_sums_what_reached_each_bucket(buckets, max_distance):
    encoding = tiny.encoding("t5", f"buckets={buckets},max_distance={max_distance}", num_heads=3)
    generator = torch.Generator().manual_seed(0)
    distance = torch.randint(0, 3000, (500,), generator=generator)
    weights = torch.randint(-4, 5, (3, 500), generator=generator).float()  # integers: exact sums
    heads_by_distance(encoding, distance).mul(weights).sum().backward()
    expected = torch.zeros(buckets, 3, dtype=torch.float64)
    for column, d in enumerate(distance.tolist()):
        expected[bucket(d, buckets, max_distance)] += weights[:, column].double()
    assert torch.equal(encoding.weight.grad.double(), expected)


def test_one_table_serves_all_layers_and_starts_at_the_width_of_the_model():
    encoding = tiny.encoding("t5", num_heads=64, embed_dim=400)
    assert [name for name, _ in encoding.named_parameters()] == ["weight"]
    distance = torch.arange(200)
    first = encoding.bias(0, distance, 0)
    assert torch.equal(first, encoding.bias(0, distance, 1))
    # 2048 draws with deviation 1/20: five standard errors
    assert encoding.weight.std().item() == pytest.approx(0.05, rel=5 / math.sqrt(2 * 2048))


def test_table_stays_float32_and_bias_works_in_half_models():
    encoding = tiny.encoding("t5")
    before = heads_by_distance(encoding, torch.arange(300))
    encoding.half()
    after = heads_by_distance(encoding, torch.arange(300))
    assert encoding.weight.dtype == torch.float32
    assert torch.equal(before, after)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("buckets=1", "--position-args buckets=1: t5 needs at least 2"),
        ("buckets=0", "--position-args buckets=0: t5 needs at least 2"),
        ("max_distance=16", "max_distance=16: t5 with 32 buckets needs more than 16 tokens"),
        ("buckets=300", "max_distance=128: t5 with 300 buckets needs more than 150 tokens"),
    ],
)
def test_sizes_that_make_no_buckets_are_refused(arguments, message):
    with pytest.raises(ValueError) as error:
        tiny.encoding("t5", arguments)
    assert message in str(error.value)


def test_a_long_reach_is_found_without_walking_there():
    starts = bucket_starts(64, 10**9)
    assert len(starts) == 64 and list(starts) == sorted(starts) and starts[-1] < 10**9
