"""Learned absolute positions, as in stock fairseq (`--decoder-learned-pos`)."""

import torch
import torch.nn.functional as F
from torch import nn

from nopos_plugin.positions.base import PositionEncoding
from nopos_plugin.positions.registry import register


@register("learned")
class Learned(PositionEncoding):
    """A learned table added to the token embeddings; it ends at --max-target-positions.

    Row of a token: its count among the non-pads of its sequence, after padding_idx + 1 rows. The
    table has `--max-target-positions` usable rows; longer sequences are a ValueError.
    """

    stock_flags = {"no_token_positional_embeddings": False, "decoder_learned_pos": True}

    def __init__(self, config, shape):
        super().__init__(config, shape)
        self.max_positions = shape.max_length
        rows = shape.max_length + self.padding_idx + 1
        self.weight = nn.Parameter(torch.empty(rows, shape.embed_dim))
        nn.init.normal_(self.weight, std=shape.embed_dim**-0.5)
        nn.init.zeros_(self.weight[self.padding_idx])

    def embed(self, x, positions):
        rows = positions.within + self.padding_idx + 1  # pads, -1, find row padding_idx
        return x + F.embedding(rows, self.weight, self.padding_idx)
