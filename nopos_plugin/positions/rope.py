"""RoPE, rotary position embedding (Su et al., 2021)."""

import math
from dataclasses import dataclass

import torch

from nopos_plugin.positions.base import PositionEncoding
from nopos_plugin.positions.options import option
from nopos_plugin.positions.registry import register


@dataclass(frozen=True)
class RopeConfig:
    theta: float = option(10000.0, "base: channel pair i turns by theta^(-2i/dim) radians a token")
    fraction: float = option(1.0, "share of a head's channels, the first ones, that rotate")
    layout: str = option(
        "half",
        "pairs are channels (i, i + dim/2), or (2i, 2i + 1)",
        choices=("half", "interleaved"),
    )


def inverse_frequencies(theta, dim):
    """theta^(-2i/dim) for i = 0 .. dim/2 - 1, (dim/2,) float64."""
    return theta ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)


def turn(x, cos, sin, layout):
    """`x` (..., dim) with its channel pairs turned; cos, sin (..., dim/2)."""
    if layout == "half":
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1).flatten(-2)


@register("rope")
class Rope(PositionEncoding):
    """Queries and keys turned by angles proportional to position (Su et al., 2021).

    Angles are formed in float64 from integer positions; cos and sin are float32.
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
                "--decoder-attention-heads and fraction so that it is even"
            )

    def rotation(self, order):
        """cos and sin of the angles at `order` (B, T), each (B, 1, T, rotary_dim/2) float32."""
        frequencies = inverse_frequencies(self.config.theta, self.rotary_dim).to(order.device)
        angles = order.double().unsqueeze(-1) * frequencies
        angles = angles.unsqueeze(1)  # (B, 1, T, rotary_dim/2)
        return angles.cos().float(), angles.sin().float()

    def rotate(self, q, k, rotation):
        return self._rotate(q, *rotation), self._rotate(k, *rotation)

    def _rotate(self, x, cos, sin):
        turned = turn(x[..., : self.rotary_dim], cos, sin, self.config.layout).to(x.dtype)
        if self.rotary_dim == x.size(-1):
            return turned
        return torch.cat([turned, x[..., self.rotary_dim :]], dim=-1)
