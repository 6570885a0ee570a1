"""KERPLE: golden values, both kernels and their gradients in float64, starts, precision."""

import pytest
import tiny
import torch
import torch.nn.functional as F

from nopos_plugin.attention import AttentionContext, attend
from nopos_plugin.positions.options import parse
from nopos_plugin.positions.registry import build

KERNELS = ["kerple_log", "kerple_power"]
DISTANCES = torch.tensor([0, 1, 2, 10, 511, 512, 4096, 16383])
# {kernel: {(r1, r2): bias at DISTANCES}}; chijames/KERPLE@25be3d7 in float64, 6 decimals
GOLDEN = {
    "kerple_log": {
        (1, 1): (0, -0.693147, -1.098612, -2.397895, -6.238325, -6.240276, -8.318010, -9.704061),
        (2, 0.5): (
            *(0, -0.810930, -1.386294, -3.583519),
            *(-11.094257, -11.098152, -15.250214, -18.021949),
        ),
        (0.01, 0.01): (
            *(0, -0.000100, -0.000198, -0.000953),
            *(-0.018099, -0.018116, -0.037367, -0.051049),
        ),
    },
    "kerple_power": {
        (0.5, 1): (0, -0.5, -1, -5, -255.5, -256, -2048, -8191.5),
        (0.5, 2): (0, -0.5, -2, -50, -130560.5, -131072, -8388608, -134201344.5),
        (1, 0.5): (0, -1, -1.414214, -3.162278, -22.605309, -22.627417, -64, -127.996094),
        (0.01, 0.01): (
            *(0, -0.01, -0.010070, -0.010233),
            *(-0.010643, -0.010644, -0.010867, -0.011019),
        ),
    },
}


def formula(name, r1, r2, distance):
    """The paper's kernels in float64; 0^r2 is 0."""
    if name == "kerple_log":
        return -r1 * torch.log(1 + r2 * distance)
    far = distance.clamp(min=1) ** r2
    return -r1 * torch.where(distance == 0, torch.zeros_like(far), far)


def values(name, raw_r1, raw_r2):
    """Parameters -> r1, r2 by the constraints: positive, and the exponent below 2."""
    return F.softplus(raw_r1), F.softplus(raw_r2) if name == "kerple_log" else 2 / (
        1 + (-raw_r2).exp()
    )


def kernel_at(name, r1, r2, **shape):
    encoding = tiny.encoding(name, num_heads=len(r1), **shape)
    encoding.set_kernel(torch.tensor(r1), torch.tensor(r2))
    return encoding


def bias(encoding, distance, layer=0):
    """(H, N)"""
    return encoding.bias(torch.arange(encoding.shape.num_heads).unsqueeze(1), distance, layer)


@pytest.mark.parametrize("name", KERNELS)
def test_golden_values(name):
    r1, r2 = ([float(pair[i]) for pair in GOLDEN[name]] for i in (0, 1))
    expected = torch.tensor(list(GOLDEN[name].values()), dtype=torch.float64)
    ours = bias(kernel_at(name, r1, r2), DISTANCES)
    assert ours.dtype == torch.float32 and (ours[:, 0] == 0).all()
    # 6 decimals were kept. An exponent of 2 is at most 2 - 2e-7, which is 2e-6 of 16383^2.
    torch.testing.assert_close(ours.double(), expected, rtol=4e-6, atol=6e-7)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("heads", [1, 3, 6, 12])
def test_values_and_gradients_are_the_formula_in_float64(name, heads):
    generator = torch.Generator().manual_seed(heads)
    r1, r2 = (torch.rand(heads, generator=generator) * 1.9 + 0.02 for _ in range(2))
    encoding = kernel_at(name, r1.tolist(), r2.tolist())
    distance = torch.cat([torch.arange(300), torch.tensor([16383, 131071])])
    weights = torch.rand(heads, len(distance), generator=generator)
    weights[:, -2:] /= 1e6  # or far cells would be all of the sum

    raw = [p.detach().double().requires_grad_() for p in (encoding.raw_r1, encoding.raw_r2)]
    kernel = [value.unsqueeze(1) for value in values(name, *raw)]
    tiny.assert_close(torch.cat(kernel, 1), torch.stack([r1, r2], 1), 1e-6)
    expected = formula(name, *kernel, distance.double())
    ours = bias(encoding, distance)
    torch.testing.assert_close(ours.double(), expected, rtol=4e-6, atol=1e-7)

    (ours * weights).sum().backward()
    (expected * weights).sum().backward()
    for parameter, exact in zip((encoding.raw_r1, encoding.raw_r2), raw, strict=True):
        torch.testing.assert_close(parameter.grad.double(), exact.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("distance", [0, 1, 16383])
def test_gradients_of_single_cells_against_differences(name, distance):
    encoding = kernel_at(name, [0.7], [1.3])
    bias(encoding, torch.tensor([distance])).sum().backward()
    raw = [p.detach().double() for p in (encoding.raw_r1, encoding.raw_r2)]
    for which, parameter in enumerate((encoding.raw_r1, encoding.raw_r2)):
        ends = []
        for step in (1e-5, -1e-5):
            moved = [p + step * (i == which) for i, p in enumerate(raw)]
            ends.append(
                formula(name, *values(name, *moved), torch.tensor(float(distance)).double())
            )
        difference = (ends[0] - ends[1]) / 2e-5
        torch.testing.assert_close(parameter.grad.double(), difference, rtol=1e-5, atol=1e-6)


def test_exponent_two_has_finite_gradients_everywhere():
    # There float32 cannot hold 1 - sigmoid, so the gradient of the exponent is small but not exact.
    encoding = kernel_at("kerple_power", [0.5], [2.0])
    bias(encoding, torch.tensor([0, 1, 2, 16383, 131071])).sum().backward()
    assert encoding.raw_r1.grad.isfinite().all() and encoding.raw_r2.grad.isfinite().all()
    assert -(131071.0**2) * 1.1 < encoding.raw_r1.grad.item() < -(131071.0**2) * 0.3


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("raw", [-80.0, -20.0, 0.0, 20.0, 80.0])
def test_any_parameters_make_a_penalty_that_grows_with_distance(name, raw):
    encoding = tiny.encoding(name, num_heads=3)
    torch.nn.init.constant_(encoding.raw_r1, raw)
    torch.nn.init.constant_(encoding.raw_r2, -raw)
    with torch.no_grad():
        r1, r2 = encoding.kernel(0)
        assert (r1 > 0).all() and (r2 > 0).all()
        assert name == "kerple_log" or (r2 <= 2).all()
        penalty = -bias(encoding, DISTANCES)
    assert (
        penalty.isfinite().all() and (penalty.diff(dim=1) >= 0).all() and (penalty[:, 0] == 0).all()
    )


@pytest.mark.parametrize("name", KERNELS)
def test_parameters_stay_float32_and_forward_leaves_them_alone(name):
    encoding = tiny.encoding(name).half()
    before = {key: value.clone() for key, value in encoding.state_dict().items()}
    bias(encoding, DISTANCES).sum().backward()
    assert {p.dtype for p in encoding.parameters()} == {torch.float32}
    assert all(torch.equal(before[key], value) for key, value in encoding.state_dict().items())
    assert encoding.decays is False


def test_ones_and_alibi_starts():
    for name in KERNELS:
        ones = tiny.encoding(name, "init=ones").kernel(0)
        torch.testing.assert_close(torch.stack(ones), torch.ones(2, 4), rtol=2e-7, atol=0)
    slopes = [2.0 ** (-8 * (h + 1) / 8) for h in range(8)] + [2.0 ** (-h - 0.5) for h in range(4)]
    minus = -torch.tensor(slopes, dtype=torch.float64).unsqueeze(1)
    exact = {
        "kerple_power": minus * DISTANCES,
        "kerple_log": minus * torch.log1p(DISTANCES.double()),
    }
    for name, expected in exact.items():
        ours = bias(tiny.encoding(name, "init=alibi", num_heads=12), DISTANCES)
        # exp(ln 16383) in float32: ln is 9.7, good to 5e-7
        torch.testing.assert_close(ours.double(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name, highest", [("kerple_log", (2, 1)), ("kerple_power", (1, 2))])
def test_paper_start_draws_uniformly(name, highest):
    encoding = tiny.encoding(name, num_heads=4000)
    other = tiny.encoding(name, num_heads=4000, seed=2)
    for drawn, again, bound in zip(encoding.kernel(0), other.kernel(0), highest, strict=True):
        assert drawn.min() >= 0.01 * (1 - 1e-6) and bound * 0.99 < drawn.max() <= bound
        assert drawn.mean().item() == pytest.approx(bound / 2, abs=5 * bound / 12**0.5 / 4000**0.5)
        assert not torch.equal(drawn, again)


@pytest.mark.parametrize("name", KERNELS)
def test_one_kernel_for_all_layers_or_one_for_each(name):
    shared = tiny.encoding(name, num_heads=6, num_layers=3)
    own = tiny.encoding(name, "per_layer=true", num_heads=6, num_layers=3)
    assert {p.shape for p in shared.parameters()} == {(6,)}
    assert {p.shape for p in own.parameters()} == {(3, 6)}
    assert all(torch.equal(bias(shared, DISTANCES, 0), bias(shared, DISTANCES, n)) for n in (1, 2))
    with torch.no_grad():
        for layer in range(3):
            kernel = [v.unsqueeze(1) for v in values(name, own.raw_r1[layer], own.raw_r2[layer])]
            expected = formula(name, *(v.double() for v in kernel), DISTANCES.double())
            # the exponent itself is float32 here
            torch.testing.assert_close(
                bias(own, DISTANCES, layer).double(), expected, rtol=5e-6, atol=1e-7
            )
    bias(own, DISTANCES, 1).sum().backward()
    assert all((p.grad[1] != 0).all() and not p.grad[[0, 2]].any() for p in own.parameters())


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16])
@pytest.mark.parametrize("kernel", ["reference", "sdpa"])
def test_half_precision_scores_stay_finite_at_exponent_two(kernel, dtype):
    # d^2 leaves float16 from 256 on; in the release every gradient became NaN.
    encoding = build("kerple_power", parse("init=ones"), tiny.shape(num_heads=2)).half()
    encoding.set_kernel(torch.full((2,), 0.5), torch.full((2,), 2.0))
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, 512, 8, generator=generator).to(dtype) for _ in range(3))
    q, k, v = (x.requires_grad_() for x in (q, k, v))
    order = torch.arange(512).unsqueeze(0)
    context = AttentionContext(encoding, order, order, consecutive=True, kernel=kernel)
    out = attend(q, k, v, context, 0)
    out.float().square().sum().backward()
    distance = order.double().T - order
    scores = q.detach().double() @ k.detach().double().mT / 8**0.5 - 0.5 * distance**2
    weights = scores.masked_fill(distance < 0, -torch.inf).softmax(-1)
    unit = 2**-11 if dtype == torch.half else 2**-8
    tiny.assert_close(out, weights @ v.detach().double(), 2 * unit)
    for tensor in (q, k, v, encoding.raw_r1, encoding.raw_r2):
        assert tensor.grad.isfinite().all() and tensor.grad.any()
