"""KERPLE: learned conditionally positive definite kernels of distance (Chi et al., 2022).

Logarithmic: bias = -r1 ln(1 + r2 d). Power: bias = -r1 d^r2. Layers share r1, r2 of a head.
DIFFERS from the paper's Eq. 1 and 2, which divide the bias by sqrt(D) as well: it is added after
the scaling, as the released code does, so r1 here is the paper's r1 / sqrt(D).
DIFFERS from chijames/KERPLE@25be3d7 megatron/mpu/layers.py:192-439: the constraints are in the math
(softplus, sigmoid) instead of a clamp at 0.01 that changed .data in the forward, because optimizer
and model then disagreed; distances are exact integers instead of bf16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from nopos_plugin.positions.alibi import standard_slopes
from nopos_plugin.positions.base import PositionEncoding
from nopos_plugin.positions.by_distance import effective_lengths
from nopos_plugin.positions.options import option
from nopos_plugin.positions.registry import register

SMALLEST = 0.01  # drawn value: the lower clamp of the release; below, a parameter hardly moves


@dataclass(frozen=True)
class KerpleConfig:
    init: str = option(
        "paper",
        "r1, r2 at the start: uniform draws of the release, all ones, or ALiBi's slopes and 1",
        choices=("paper", "ones", "alibi"),
    )
    per_layer: bool = option(False, "own r1, r2 in every layer instead of one pair for all")


class Kerple(PositionEncoding):
    """What the two kernels share: parameters (H,) or (layers, H), float32, never decayed."""

    Config = KerpleConfig
    float32_parameters = True
    decays = False
    uniform: ClassVar[tuple[float, float]]  # paper init: r1 ~ U[0, first), r2 ~ U[0, second)

    def __init__(self, config, shape):
        super().__init__(config, shape)
        size = (shape.num_layers, shape.num_heads) if config.per_layer else (shape.num_heads,)
        r1, r2 = torch.ones(size), torch.ones(size)
        if config.init == "paper":
            r1, r2 = (torch.rand(size) * bound for bound in self.uniform)
        if config.init == "alibi":
            r1 = torch.tensor(standard_slopes(shape.num_heads)).expand(size)
        self.raw_r1 = nn.Parameter(torch.empty(size))
        self.raw_r2 = nn.Parameter(torch.empty(size))
        smallest = SMALLEST if config.init == "paper" else 0.0
        self.set_kernel(r1.clamp(min=smallest), r2.clamp(min=smallest))

    @staticmethod
    def constrain_r2(raw):
        return F.softplus(raw)

    @staticmethod
    def unconstrain_r2(r2):
        return inverse_softplus(r2)

    @torch.no_grad()
    def set_kernel(self, r1, r2):
        """Make `r1` and `r2`, tensors of the parameters' shape, the kernel's values."""
        self.raw_r1.copy_(inverse_softplus(r1))
        self.raw_r2.copy_(self.unconstrain_r2(r2))

    def kernel(self, layer):
        """r1 and r2 of `layer`, each (H,) float32 and positive."""
        r1, r2 = F.softplus(self.raw_r1.float()), self.constrain_r2(self.raw_r2.float())
        return (r1[layer], r2[layer]) if self.config.per_layer else (r1, r2)

    @torch.no_grad()
    def learned(self):
        """r1, r2, and the effective length, as of `effective_lengths`."""
        series = {}
        for layer in range(self.shape.num_layers if self.config.per_layer else 1):
            r1, r2 = self.kernel(layer)
            prefix = f"layer{layer}_" if self.config.per_layer else ""
            for name, values in (
                ("r1", r1),
                ("r2", r2),
                ("effective_length", effective_lengths(self, layer).float()),
            ):
                series[prefix + name] = values
        return series


@register("kerple_log")
class KerpleLog(Kerple):
    """A learned logarithmic penalty, -r1 ln(1 + r2 d) with r1, r2 > 0 a head (Chi et al., 2022)."""

    uniform = (2.0, 1.0)

    def bias(self, head, distance, layer):
        r1, r2 = self.kernel(layer)
        return -r1[head] * torch.log1p(r2[head] * distance)


@register("kerple_power")
class KerplePower(Kerple):
    """A learned power penalty, -r1 d^r2 with r1 > 0, 0 < r2 <= 2 a head (Chi et al., 2022).

    Beyond an exponent of 2 the kernel is not conditionally positive definite (Proposition 1).
    """

    uniform = (1.0, 2.0)

    @staticmethod
    def constrain_r2(raw):
        return 2 * torch.sigmoid(raw)

    @staticmethod
    def unconstrain_r2(r2):
        return torch.logit(r2 / 2, eps=1e-7)

    def bias(self, head, distance, layer):
        r1, r2 = self.kernel(layer)
        # ln 0 would turn the exponent's gradient into NaN, so distance 0 is set apart.
        power = torch.exp(r2[head] * torch.log(distance.clamp(min=1).float()))
        return -r1[head] * torch.where(distance > 0, power, 0.0)


def inverse_softplus(value):
    """x with softplus(x) = value, for value > 0; precise for small and for large values."""
    value = torch.as_tensor(value).double()
    return (value + torch.log(-torch.expm1(-value))).float()
