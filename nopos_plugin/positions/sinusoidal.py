"""Sinusoidal absolute positions, as in stock fairseq and tensor2tensor (Vaswani et al., 2017)."""

import math

import torch

from nopos_plugin.positions.base import PositionEncoding
from nopos_plugin.positions.registry import register


def sinusoid(index, dim):
    """Rows [sin | cos] of `dim` channels for `index` (any shape) -> (*index.shape, dim) float32.

    Frequencies are 10000^(-k/(dim/2 - 1)), k = 0 .. dim/2 - 1, and angles float32: stock fairseq's
    numbers bit by bit. An odd last channel is 0.
    """
    half = dim // 2
    step = math.log(10000) / max(half - 1, 1)
    frequencies = torch.exp(torch.arange(half, dtype=torch.float, device=index.device) * -step)
    angles = index.unsqueeze(-1).float() * frequencies
    rows = torch.cat([angles.sin(), angles.cos()], dim=-1)
    return torch.nn.functional.pad(rows, (0, dim % 2))


@register("sinusoidal")
class Sinusoidal(PositionEncoding):
    """Sinusoids added to the token embeddings, at any length (Vaswani et al., 2017).

    The first token has row padding_idx + 1, a pad the zero vector.
    """

    stock_flags = {"no_token_positional_embeddings": False, "decoder_learned_pos": False}

    def embed(self, x, positions):
        rows = sinusoid(positions.within + self.padding_idx + 1, self.shape.embed_dim)
        rows = rows.masked_fill(positions.within.lt(0).unsqueeze(-1), 0)
        return x + rows.to(x.dtype)
