"""T5's bucketed relative bias (Raffel et al., 2020)."""

from bisect import bisect_left
from dataclasses import dataclass

import torch
from torch import nn

from nopos_plugin.positions.base import PositionEncoding
from nopos_plugin.positions.constants import constant
from nopos_plugin.positions.options import option
from nopos_plugin.positions.registry import register


@dataclass(frozen=True)
class T5Config:
    buckets: int = option(32, "number of buckets; the first half hold one distance each")
    max_distance: int = option(128, "tokens from which on all distances share the last bucket")


def bucket_starts(buckets, max_distance):
    """First distance of each bucket: 0 .. E-1 exactly (E = buckets // 2), then logarithmic to
    max_distance.

    Distance d >= E falls into E + floor((buckets - E) ln(d/E) / ln(max_distance/E)), at most
    buckets - 1. The starts are integers found by comparing integer powers, so no rounding can move
    one.
    """
    exact, wide = buckets // 2, buckets - buckets // 2
    starts = list(range(exact))
    for step in range(wide):
        # smallest d with (d/E)^wide >= (max_distance/E)^step, which is E at step 0
        bound = max_distance**step * exact ** (wide - step)
        starts.append(bisect_left(range(max_distance), bound, lo=exact, key=lambda d: d**wide))
    return tuple(starts)


@register("t5")
class T5(PositionEncoding):
    """A learned number for each head and bucket of distances (Raffel et al., 2020).

    bias = weight[bucket(distance), head], one table for all layers, added after 1/sqrt(D).

    DIFFERS from T5 itself, which has no 1/sqrt(D), and in the initial deviation, C^-0.5, from
    gpt-neox.
    """

    Config = T5Config
    float32_parameters = True

    def __init__(self, config, shape):
        super().__init__(config, shape)
        if config.buckets < 2:
            raise ValueError(f"--position-args buckets={config.buckets}: t5 needs at least 2")
        if config.max_distance <= config.buckets // 2:
            raise ValueError(
                f"--position-args max_distance={config.max_distance}: t5 with {config.buckets} "
                f"buckets needs more than {config.buckets // 2} tokens"
            )
        self.starts = bucket_starts(config.buckets, config.max_distance)
        self.weight = nn.Parameter(torch.empty(config.buckets, shape.num_heads))
        nn.init.normal_(self.weight, std=shape.embed_dim**-0.5)

    def bias(self, head, distance, layer):
        starts = constant(self.starts, torch.long, distance.device)
        bucket = torch.bucketize(distance.clamp(min=0), starts, right=True) - 1
        return self.weight.float()[bucket, head]

    def learned(self):
        """The bias of each bucket, named by its first distance."""
        return {
            f"bias_from_{start}": row for start, row in zip(self.starts, self.weight, strict=True)
        }
