"""RoPE, rotary position embedding (Su et al., 2021)."""

import math
from dataclasses import dataclass

import torch

from nopos_plugin.positions.base import PositionEncoding
from nopos_plugin.positions.options import option
from nopos_plugin.positions.registry import register
from nopos_plugin.positions.scaling import Scaling, ScalingConfig


@dataclass(frozen=True)
class Rotary:
    theta: float = option(10000.0, "base: channel pair i turns by theta^(-2i/dim) radians a token")
    fraction: float = option(1.0, "share of a head's channels, the first ones, that rotate")
    layout: str = option(
        "half",
        "pairs are channels (i, i + dim/2), or (2i, 2i + 1)",
        choices=("half", "interleaved"),
    )


@dataclass(frozen=True)
class RopeConfig(ScalingConfig, Rotary):
    pass


class Turn(torch.autograd.Function):
    """`x` (..., D) with the pairs of its first 2n channels turned; cos, sin (..., n) float32.

    Written out since autograd's own backward, of the same eight passes, costs three times as many.
    """

    @staticmethod
    def forward(ctx, x, cos, sin, layout):
        ctx.save_for_backward(cos, sin)
        ctx.layout = layout
        return turned(x, cos, sin, layout)

    @staticmethod
    def backward(ctx, grad):
        cos, sin = ctx.saved_tensors
        return turned(grad, cos, -sin, ctx.layout), None, None, None


def turned(x, cos, sin, layout):
    """As `Turn`; the result has the dtype of `x`."""
    dim = 2 * cos.size(-1)
    out = torch.empty_like(x, dtype=torch.float)
    (a, b), (out_a, out_b) = (pairs(y[..., :dim], layout) for y in (x, out))
    torch.mul(a, cos, out=out_a).addcmul_(b, sin, value=-1)
    torch.mul(b, cos, out=out_b).addcmul_(a, sin)
    out[..., dim:] = x[..., dim:]
    return out.to(x.dtype)


def pairs(x, layout):
    """First and second channels of all pairs, each (..., n), views of `x` (..., 2n)."""
    return x.chunk(2, dim=-1) if layout == "half" else (x[..., 0::2], x[..., 1::2])


@register("rope")
class Rope(PositionEncoding):
    """Queries and keys turned by angles proportional to position (Su et al., 2021).

    Angles are formed in float64 from integer positions; cos and sin are float32. The laws of
    `scaling` are in scaling.py.
    """

    Config = RopeConfig

    def __init__(self, config, shape):
        super().__init__(config, shape)
        if not 0 < config.theta < math.inf:
            raise ValueError(
                f"--position-args theta={config.theta}: {self.name} needs a positive, finite base"
            )
        if not 0 < config.fraction <= 1:
            raise ValueError(
                f"--position-args fraction={config.fraction}: {self.name} needs a share in (0, 1]"
            )
        self.rotary_dim = round(shape.head_dim * config.fraction)
        if self.rotary_dim % 2 or self.rotary_dim == 0:
            raise ValueError(
                f"--position-encoding {self.name} turns pairs of channels, but {self.rotary_dim} "
                f"of {shape.head_dim} channels a head would rotate: choose --decoder-embed-dim, "
                "--decoder-attention-heads, --decoder-head-dim and fraction so that it is even"
            )
        self.scaling = Scaling(config, config.theta, self.rotary_dim)
        self.rotates_by_length = self.scaling.by_length

    def rotation(self, order, whole):
        """cos and sin of the angles at `order` (B, T), each (B, 1, T, rotary_dim/2) float32."""
        angles = order.double().unsqueeze(-1) * self.scaling.frequencies(whole).unsqueeze(1)
        angles = angles.unsqueeze(1)  # (B, 1, T, rotary_dim/2)
        magnitude = self.scaling.magnitude
        return (magnitude * angles.cos()).float(), (magnitude * angles.sin()).float()

    def rotate(self, q, k, rotation):
        return tuple(Turn.apply(x, *rotation, self.config.layout) for x in (q, k))
