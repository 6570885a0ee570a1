"""ALiBi: a penalty linear in distance, with one fixed slope a head (Press et al., 2022)."""

from dataclasses import dataclass

import torch

from nopos_plugin.positions.base import PositionEncoding
from nopos_plugin.positions.constants import constant
from nopos_plugin.positions.options import option
from nopos_plugin.positions.registry import register


def standard_slopes(num_heads):
    """The slopes of the ALiBi release: of the largest power of two, then every other of the next.

    DIFFERS from the paper's one-line rule, ratio 2^(-8/H) for every H, which no release used.
    """
    closest = 1 << (num_heads.bit_length() - 1)
    slopes = _geometric(closest, closest)
    return slopes + _geometric(2 * closest, 2 * closest)[::2][: num_heads - closest]


def nopos_fork_slopes(num_heads):
    """The slopes of the NoPos release: its first power of two of them has the ratio 2^(-8/H)."""
    closest = 1 << (num_heads.bit_length() - 1)
    return _geometric(num_heads, closest) + standard_slopes(num_heads)[closest:]


def _geometric(num_heads, count):
    return [2.0 ** (-8 * head / num_heads) for head in range(1, count + 1)]


SLOPES = {"standard": standard_slopes, "nopos_fork": nopos_fork_slopes}


@dataclass(frozen=True)
class AlibiConfig:
    slopes: str = option(
        "standard", "rule for a head count that is no power of two", choices=tuple(SLOPES)
    )


@register("alibi")
class Alibi(PositionEncoding):
    """A penalty linear in distance, one fixed slope a head (Press et al., 2022).

    bias = -slope * distance in float32: zero on the diagonal, never the drifting +slope * key.
    """

    Config = AlibiConfig

    def __init__(self, config, shape):
        super().__init__(config, shape)
        self.slopes = tuple(SLOPES[config.slopes](shape.num_heads))

    def bias(self, head, distance, layer):
        return -constant(self.slopes, torch.float, distance.device)[head] * distance
