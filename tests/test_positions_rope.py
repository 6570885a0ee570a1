"""RoPE: golden vectors, the rotation retyped with complex numbers in float64, far positions."""

import pytest
import tiny
import torch

LAYOUTS = ["half", "interleaved"]
# chijames/KERPLE@25be3d7 (half) and the interleaved formula, x = (1, 2, 3, 4), position 3, measured
GOLDEN = {
    "half": (-1.413353, 1.879118, -2.828857, 4.058191),
    "interleaved": (-1.272233, -1.838865, 2.878668, 4.088187),
}


def turned(x, positions, layout, theta=10000.0, sign=1):
    """x (B, H, T, D) at positions (B, T): pair i times e^(sqrt(-1) m theta^(-2i/D)), in float64."""
    dim = x.size(-1)
    rates = torch.tensor([theta ** (-2 * i / dim) for i in range(dim // 2)], dtype=torch.float64)
    angles = sign * positions.double()[:, None, :, None] * rates
    x = x.double()
    if layout == "half":
        pairs = torch.complex(x[..., : dim // 2], x[..., dim // 2 :])
    else:
        pairs = torch.complex(x[..., 0::2], x[..., 1::2])
    pairs = pairs * torch.polar(torch.ones_like(angles), angles)
    if layout == "half":
        return torch.cat([pairs.real, pairs.imag], -1)
    return torch.view_as_real(pairs).flatten(-2)


def rotate(encoding, q, k, order):
    return encoding.rotate(q, k, encoding.rotation(order, order))


def vectors(*size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*size, generator=generator), torch.randn(*size, generator=generator)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_golden_vector(layout):
    encoding = tiny.encoding("rope", f"layout={layout}", head_dim=4)
    x = torch.tensor([1.0, 2, 3, 4]).view(1, 1, 1, 4)
    q, k = rotate(encoding, x, x, torch.tensor([[3]]))
    torch.testing.assert_close(q.flatten(), torch.tensor(GOLDEN[layout]), rtol=0, atol=1e-6)
    assert torch.equal(q, k)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("length", [1, 2, 63, 100])
@pytest.mark.parametrize("heads, dim", [(3, 2), (6, 8), (12, 64)])
def test_values_and_gradients_are_the_complex_rotation(heads, dim, length, layout):
    encoding = tiny.encoding("rope", f"layout={layout},theta=500", num_heads=heads, head_dim=dim)
    generator = torch.Generator().manual_seed(length)
    order = torch.randint(0, 5000, (2, length), generator=generator)  # rows that differ and jump
    q, k = (x.requires_grad_() for x in vectors(2, heads, length, dim))
    out = rotate(encoding, q, k, order)
    grads = vectors(2, heads, length, dim, seed=1)
    torch.autograd.backward(out, grads)
    for x, y, grad in zip((q, k), out, grads, strict=True):
        tiny.assert_close(y, turned(x.detach(), order, layout, theta=500), 5e-7)
        # the transposed rotation turns back
        tiny.assert_close(x.grad, turned(grad, order, layout, theta=500, sign=-1), 5e-7)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scores_depend_on_the_difference_of_positions_alone(layout):
    encoding = tiny.encoding("rope", f"layout={layout}", head_dim=64)
    q, k = vectors(1, 4, 50, 64)
    order = torch.arange(50).unsqueeze(0)
    near, far = (rotate(encoding, q, k, order + shift) for shift in (0, 100_000))
    # float32 vectors of length 8 at most, so sums of 64 products are good to a few 1e-6
    tiny.assert_close(far[0] @ far[1].mT, near[0] @ near[1].mT, 2e-6)


def test_layouts_are_the_same_after_a_permutation_of_channels():
    half = tiny.encoding("rope", "layout=half", head_dim=16)
    interleaved = tiny.encoding("rope", "layout=interleaved", head_dim=16)
    q, k = vectors(2, 4, 30, 16)
    order = torch.arange(30).unsqueeze(0) * 7
    pairs = torch.arange(16).view(2, 8).T.flatten()  # 0 8 1 9 2 10 ...
    there = rotate(interleaved, q[..., pairs], k[..., pairs], order)
    here = rotate(half, q, k, order)
    assert torch.equal(there[0], here[0][..., pairs]) and torch.equal(there[1], here[1][..., pairs])
    assert not torch.equal(rotate(interleaved, q, k, order)[0], here[0])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_fraction_turns_the_first_channels_by_their_own_frequencies(layout):
    encoding = tiny.encoding("rope", f"layout={layout},fraction=0.25", head_dim=32)
    q, k = vectors(2, 4, 20, 32)
    order = torch.arange(40).view(2, 20)
    for x, y in zip((q, k), rotate(encoding, q, k, order), strict=True):
        tiny.assert_close(y[..., :8], turned(x[..., :8], order, layout), 5e-7)
        assert torch.equal(y[..., 8:], x[..., 8:])


@pytest.mark.parametrize("position", [1, 8192, 16384, 131071])
def test_far_angles_are_right_to_half_a_unit_of_float32(position):
    encoding = tiny.encoding("rope", head_dim=64)
    cos, sin = encoding.rotation(*[torch.tensor([[position]])] * 2)
    angles = [position * 10000 ** (-2 * i / 64) for i in range(32)]
    exact = torch.tensor(angles, dtype=torch.float64)
    assert cos.shape == (1, 1, 1, 32) and cos.dtype == sin.dtype == torch.float32
    # half a unit of float32 is 6e-8; the angle itself, 131071 at most, is good to 3e-11
    torch.testing.assert_close(cos.double().flatten(), exact.cos(), rtol=0, atol=6.1e-8)
    torch.testing.assert_close(sin.double().flatten(), exact.sin(), rtol=0, atol=6.1e-8)


def test_golden_frequencies():
    # at position 1 the angle is the frequency: theta_0, theta_1, theta_16, theta_31 of D = 64
    cos, sin = tiny.encoding("rope", head_dim=64).rotation(*[torch.tensor([[1]])] * 2)
    angles = torch.atan2(sin, cos).flatten()[[0, 1, 16, 31]].tolist()
    assert angles == pytest.approx([1, 0.749894, 0.01, 1.33352e-4], rel=5e-6)  # 6 digits


def test_half_precision_of_the_model_leaves_the_angles_alone():
    encoding = tiny.encoding("rope", head_dim=16)
    order = torch.arange(16000, 16064).unsqueeze(0)
    before = encoding.rotation(order, order)
    encoding.half()
    after = encoding.rotation(order, order)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not list(encoding.parameters()) and not list(encoding.buffers())


@pytest.mark.parametrize("dtype, unit", [(torch.half, 2**-11), (torch.bfloat16, 2**-8)])
def test_half_precision_vectors_are_rounded_once(dtype, unit):
    encoding = tiny.encoding("rope", head_dim=16)
    q, k = (x.to(dtype) for x in vectors(1, 4, 64, 16))
    order = torch.arange(16000, 16064).unsqueeze(0)
    y, _ = rotate(encoding, q, k, order)
    exact = turned(q, order, "half")
    assert y.dtype == dtype
    assert ((y.double() - exact).abs() <= 1.01 * unit * exact.abs() + 1e-6).all()


@pytest.mark.parametrize(
    "arguments, head_dim, message",
    [
        ("", 7, "rope turns pairs of channels, but 7 of 7 channels a head would rotate: choose "),
        (
            "fraction=0.3",
            10,
            "but 3 of 10 channels a head would rotate: choose --decoder-embed-dim",
        ),
        ("fraction=0.01", 8, "but 0 of 8 channels a head would rotate"),
        ("fraction=0", 8, "--position-args fraction=0.0: rope needs a share in (0, 1]"),
        ("fraction=1.5", 8, "--position-args fraction=1.5: rope needs a share in (0, 1]"),
        ("theta=0", 8, "--position-args theta=0.0: rope needs a positive, finite base"),
        ("theta=-1", 8, "--position-args theta=-1.0: rope needs a positive, finite base"),
    ],
)
def test_sizes_that_cannot_turn_are_refused(arguments, head_dim, message):
    with pytest.raises(ValueError) as error:
        tiny.encoding("rope", arguments, head_dim=head_dim)
    assert message in str(error.value)
