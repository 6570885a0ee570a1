"""What all layers of one forward share: the encoding, where queries and keys sit, the pads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nopos_plugin.positions import PositionEncoding


@dataclass(frozen=True)
class AttentionContext:
    """Made once a forward by the decoder. It holds no tensor that needs a gradient.

    T queries are the last of S keys, row by row: query i sees keys 0 .. S - T + i.

    query_order, key_order: (B, T) and (B, S) int64, or with a batch of 1.
    consecutive: orders are 0, 1, 2, ... in every row.
    key_pads: (B, S) bool, True where a key is a pad that a later token could see; None if none is.
    rotation: the encoding's constants at query_order; cached keys are cached rotated.
    """

    encoding: PositionEncoding
    query_order: Tensor
    key_order: Tensor
    consecutive: bool
    key_pads: Tensor | None = None
    rotation: Any = None
    kernel: str = "auto"

    def hidden(self) -> Tensor:
        """(B, 1, T, S) bool (B or 1), True where a query may not see a key: later rows, pads."""
        num_queries, num_keys = self.query_order.size(1), self.key_order.size(1)
        rows = torch.arange(num_keys, device=self.key_order.device)
        hidden = (rows > rows[num_keys - num_queries :].unsqueeze(1))[None, None]
        return hidden if self.key_pads is None else hidden | self.key_pads[:, None, None]

    def bias(self, layer: int) -> Tensor | None:
        """The encoding's dense logit bias in `layer`, (B, H, T, S) float32 (B or 1), or None.

        Distances of hidden cells are taken as 0: they must not reach a gradient.
        """
        if self.encoding.bias is None:
            return None
        head = torch.arange(self.encoding.shape.num_heads, device=self.key_order.device)
        distance = self.query_order[:, None, :, None] - self.key_order[:, None, None, :]
        return self.encoding.bias(head[:, None, None], distance.clamp(min=0), layer)
