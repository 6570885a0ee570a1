"""The contract of a position encoding. The base class is NoPos: every answer is a no-op.

Shapes: B batch, T queries, S keys, H heads, D head dim, C embed dim. A size-1 batch axis
broadcasts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from nopos_plugin.positions.options import format_config
from nopos_plugin.positions.saved import Saved


@dataclass(frozen=True)
class NoConfig:
    """An encoding without options."""


@dataclass(frozen=True)
class Shape:
    """What an encoding may know of the model and the data that it serves.

    max_length: tokens in the longest training sequence (`--max-target-positions`).
    dictionary: fairseq's, of which `pad()` and `indices` (symbol -> id) are used.
    separators: the symbols that the data-bin's manifest names as ends of segments, if it does.
    """

    num_heads: int
    head_dim: int
    embed_dim: int
    num_layers: int
    max_length: int
    dictionary: Any
    separators: tuple[str, ...] = ()


@dataclass(frozen=True)
class Positions:
    """Where the tokens sit, (B, T) or (1, T) int64, counted from 0.

    order: what relative distances are measured on.
    within: what absolute tables look up, -1 for a pad.
    consecutive: order is 0, 1, 2, ... in every row; stated, never measured on the device.
    pads: (B, T) bool, the pads, if one is followed by a token that has to be kept from it; or None.
    """

    order: Tensor
    within: Tensor
    consecutive: bool
    pads: Tensor | None = None

    def after(self, start: int) -> Positions:
        """Those of the tokens from `start` on."""
        pads = self.pads if self.pads is None else self.pads[:, start:]
        return Positions(self.order[:, start:], self.within[:, start:], self.consecutive, pads)


def pads_before_tokens(tokens: Tensor, padding_idx: int) -> Tensor | None:
    """The pads of `tokens` (B, T), or None if they only follow: no token could see those."""
    pads = tokens.eq(padding_idx)
    return pads if (pads[:, :-1] & ~pads[:, 1:]).any() else None


class PositionEncoding(Saved):
    """NoPos, and the five questions that an encoding answers."""

    name: ClassVar[str]
    Config: ClassVar[type] = NoConfig
    # Flags of stock fairseq that say the same as this encoding; one that says otherwise is refused.
    stock_flags: ClassVar[dict[str, bool]] = {
        "no_token_positional_embeddings": True,
        "decoder_learned_pos": False,
    }
    accepts_given: ClassVar[bool] = True  # may a task say where tokens sit?
    order_counts: ClassVar[str] = "tokens"  # what `Positions.order` counts, for people,
    within_counts: ClassVar[str] = "tokens"  # and what `Positions.within`
    float32_parameters: ClassVar[bool] = False  # parameters stay float32 under .half()
    decays: ClassVar[bool] = True  # False: parameters are kept out of weight decay
    logit_scale: float = 1.0  # multiplies the scores
    rotates_by_length: bool = False  # `rotation` depends on the length of the input: no cache
    max_positions: int | None = None  # positions beyond are an error; None: any length
    bias: Any = None  # bias(head, distance, layer) -> logit bias, elementwise and broadcasting

    def __init__(self, config, shape: Shape):
        super().__init__()
        self.config = config
        self.shape = shape
        self.padding_idx = shape.dictionary.pad()

    def positions(self, tokens: Tensor, given: Tensor | None = None) -> Positions:
        """Positions of `tokens` (B, T), pads not counted; `given` (B, T) int64 replaces the count.

        Raises ValueError beyond `max_positions`, or if an encoding with positions of its own is
        given some.
        """
        if given is not None:
            if not self.accepts_given:
                raise ValueError(
                    f"--position-encoding {self.name} makes its own positions: "
                    "a task that gives them (PoSE, say) needs another encoding"
                )
            hidden = pads_before_tokens(tokens, self.padding_idx)
            return self._within_reach(Positions(given, given, consecutive=False, pads=hidden))
        pads = tokens.eq(self.padding_idx)
        if not pads.any():
            index = torch.arange(tokens.size(1), device=tokens.device).unsqueeze(0)  # (1, T)
            return self._within_reach(Positions(index, index, consecutive=True))
        hidden = pads_before_tokens(tokens, self.padding_idx)
        within = (~pads).long().cumsum(1).masked_fill(pads, 0) - 1  # (B, T)
        return self._within_reach(
            Positions(within.clamp(min=0), within, consecutive=False, pads=hidden)
        )

    def embed(self, x: Tensor, positions: Positions) -> Tensor:
        """Token embeddings (B, T, C) with what the encoding adds to them."""
        return x

    def rotation(self, order: Tensor, whole: Tensor) -> Any:
        """Constants of `rotate` for tokens at `order` (B, T), made once a forward; no gradient.

        whole: (B, S), where all tokens of the input are, cached ones too.
        """
        return None

    def rotate(self, q: Tensor, k: Tensor, rotation: Any) -> tuple[Tensor, Tensor]:
        """Queries and keys (B, H, T, D) of the same tokens, turned by their `rotation`."""
        return q, k

    def learned(self) -> dict[str, Tensor]:
        """What it has learned, (H,) a series of numbers, for tensorboard."""
        return {}

    def describe(self) -> str:
        """One line for the log: name, options, parameters."""
        options = format_config(self.config) or "no options"
        return f"{self.name} ({options}), {self.num_parameters():,} parameters"

    def _within_reach(self, positions):
        """`positions`, or ValueError if they go beyond `max_positions`."""
        order = positions.order
        if self.max_positions is None or order.numel() == 0:
            return positions
        length = order.size(1) if positions.consecutive else int(order.max()) + 1
        if length > self.max_positions:
            raise ValueError(
                f"--position-encoding {self.name} ends at {self.max_positions} tokens, and a "
                f"sequence has {length}: use --tokens-per-sample {self.max_positions} or less, or "
                f"train with --max-target-positions {length} or more"
            )
        return positions

    def _apply(self, fn, *args, **kwargs):
        """Move and cast as usual, except that float32 parameters stay float32."""
        if not self.float32_parameters:
            return super()._apply(fn, *args, **kwargs)

        def keep_dtype(tensor):
            moved = fn(tensor)
            return tensor.to(moved.device) if moved.dtype != tensor.dtype else moved

        return super()._apply(keep_dtype, *args, **kwargs)
