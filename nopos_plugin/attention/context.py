"""What all layers of one forward share: the encoding, where queries and keys sit, who sees whom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from nopos_plugin.positions import PositionEncoding
from nopos_plugin.positions.by_distance import bias_of


@dataclass(frozen=True)
class AttentionContext:
    """Made once a forward by the decoder. It holds no tensor that needs a gradient.

    T queries are the last of S keys, row by row: query i is key S - T + i and sees the keys before
    it and itself, save where `window`, `first_key` or `key_pads` says less.

    query_order, key_order: (B, T) and (B, S) int64, or with a batch of 1.
    consecutive: orders rise by one from key to key, alike in every row.
    key_pads: (B, S) bool, True where a key is a pad that a later token could see; None if none is.
    window: keys that a query sees at most, its own included; None: all.
    first_key: (B, T) int64, the first key of the query's document, never falling; None: 0.
    rotation: the encoding's constants at query_order; cached keys are cached rotated.
    """

    encoding: PositionEncoding
    query_order: Tensor
    key_order: Tensor
    consecutive: bool
    key_pads: Tensor | None = None
    window: int | None = None
    first_key: Tensor | None = None
    rotation: Any = None
    kernel: str = "auto"

    @property
    def num_queries(self) -> int:
        return self.query_order.size(1)

    @property
    def num_keys(self) -> int:
        return self.key_order.size(1)

    @property
    def merely_causal(self) -> bool:
        """Every query sees every key up to its own."""
        narrow = self.window is not None and self.window < self.num_keys
        return not narrow and self.key_pads is None and self.first_key is None

    @cached_property
    def num_distances(self) -> int:
        """One more than the largest distance of a query and a key."""
        if self.consecutive or self.num_queries == 0:
            return self.num_keys
        return max(1, int(self.query_order.max() - self.key_order.min()) + 1)

    @cached_property
    def order_rows(self) -> list[list[int]]:
        """key_order, for Python."""
        return self.key_order.tolist()

    @cached_property
    def never_falls(self) -> bool:
        """Is no key's order below that of the key before?"""
        return self.consecutive or bool((self.key_order.diff(dim=1) >= 0).all())

    def last(self, count: int) -> AttentionContext:
        """That of the last `count` queries."""
        order = self.query_order[:, -count:]
        first_key = None if self.first_key is None else self.first_key[:, -count:]
        rotation = self.encoding.rotation(order, self.key_order)
        return replace(self, query_order=order, first_key=first_key, rotation=rotation)

    def hidden(self) -> Tensor:
        """(B, 1, T, S) bool (B or 1), True where a query may not see a key."""
        key = torch.arange(self.num_keys, device=self.key_order.device)
        query = key[self.num_keys - self.num_queries :].unsqueeze(1)  # (T, 1)
        hidden = (key > query)[None, None]
        if self.window is not None:
            hidden = hidden | (key <= query - self.window)
        if self.first_key is not None:
            hidden = hidden | (key < self.first_key[:, None, :, None])
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

    def bias_by_distance(self, layer: int) -> Tensor | None:
        """The same bias as a table over the distances 0, 1, ..., (H, num_distances), or None."""
        if self.encoding.bias is None:
            return None
        distance = torch.arange(self.num_distances, device=self.key_order.device)
        return bias_of(self.encoding, distance, layer)

    def within_reach(self) -> tuple[AttentionContext, int]:
        """The context of the keys that some query's window holds, and the number of keys before."""
        first = 0 if self.window is None else self.num_keys - self.num_queries - self.window + 1
        if first <= 0:
            return self, 0
        return replace(
            self,
            key_order=self.key_order[:, first:],
            key_pads=None if self.key_pads is None else self.key_pads[:, first:],
            first_key=None if self.first_key is None else (self.first_key - first).clamp(min=0),
        ), first
