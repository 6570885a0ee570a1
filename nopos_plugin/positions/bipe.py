"""BiPE: an absolute encoding inside a segment, a relative one between segments (He et al., 2024).

A segment ends with a separator, which is its last token. Two positions a token: `within`, tokens
since the segment began, is added at the input; `order`, the number of the segment, is what RoPE
turns by or ALiBi measures on, so tokens of one segment are at distance 0.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

from nopos_plugin.positions.alibi import Alibi, AlibiConfig
from nopos_plugin.positions.base import PositionEncoding, Positions, pads_before_tokens
from nopos_plugin.positions.constants import constant
from nopos_plugin.positions.options import option
from nopos_plugin.positions.registry import register
from nopos_plugin.positions.rope import Rope, RopeConfig
from nopos_plugin.positions.sinusoidal import sinusoid

DEFAULT_SEPARATORS = (".", "</s>")
# Full stop and newline in fairseq's GPT-2 dictionary, whose symbols are the ids of the BPE.
PRESETS = {("@gpt2",): ("13", "198")}


@dataclass(frozen=True)
class SegmentConfig:
    separators: tuple[str, ...] = option(
        (),
        "dictionary symbols that end a segment, joined by |; @gpt2 means 13|198; by default what "
        "manifest.json of the data-bin names, else .|</s>",
    )
    inner: str = option("learned", "encoding inside a segment", choices=("learned", "sinusoidal"))
    size: int = option(
        1024, "rows of the learned inner table; tokens further into a segment share the last row"
    )


def segment_positions(tokens, separators, padding_idx):
    """(segment number, tokens since the segment began), each (B, T) int64, of `tokens` (B, T).

    separators: (N,) int64. A separator closes its segment; repeated ones are segments of one
    token. Pads on the left are before the first segment; pads on the right go on with the last.
    """
    ends = torch.isin(tokens, separators)
    pads = tokens.eq(padding_idx)
    begins = torch.zeros_like(ends)
    begins[:, 1:] = ends[:, :-1] | (pads[:, :-1] & ~pads[:, 1:])
    index = torch.arange(tokens.size(1), device=tokens.device).expand_as(tokens)
    first = torch.where(begins, index, 0).cummax(dim=1).values
    return ends.long().cumsum(1) - ends.long(), index - first


class BiPE(PositionEncoding):
    """The segments and the inner encoding; mixed into the class that encodes between segments.

    DIFFERS from zhenyuhe00/BiPE@3dddab3 my_modeling_llama_bipe_rope.py:632-648: separators are
    symbols instead of two ids of one tokenizer; the table's own size clamps instead of always
    1024; no row of the table is kept at zero as a padding row; left pads are not counted; ids are
    integers throughout.
    """

    accepts_given = False
    order_counts, within_counts = "segments", "tokens of a segment"

    def __init__(self, config, shape):
        separators = PRESETS.get(config.separators, config.separators)
        config = replace(config, separators=separators or shape.separators or DEFAULT_SEPARATORS)
        super().__init__(config, shape)
        absent = [s for s in config.separators if s not in shape.dictionary.indices]
        if absent:
            raise ValueError(
                f"--position-args separators={'|'.join(config.separators)}: the dictionary has no "
                f"symbol {' and no '.join(map(repr, absent))}; "
                "name the symbols of dict.txt that end a segment"
            )
        if config.inner == "sinusoidal" and config.size != SegmentConfig.size:
            raise ValueError(
                f"--position-args inner=sinusoidal,size={config.size}: "
                "only a learned inner table has a size; leave it out"
            )
        if config.size < 1:
            raise ValueError(
                f"--position-args size={config.size}: {self.name} needs at least 1 row"
            )
        self.separators = tuple(shape.dictionary.indices[s] for s in config.separators)
        if config.inner == "learned":
            self.weight = nn.Parameter(torch.empty(config.size, shape.embed_dim))
            nn.init.normal_(self.weight, std=shape.embed_dim**-0.5)

    def positions(self, tokens, given=None):
        if given is not None:
            return super().positions(tokens, given)  # which refuses
        separators = constant(self.separators, torch.long, tokens.device)
        order, within = segment_positions(tokens, separators, self.padding_idx)
        pads = pads_before_tokens(tokens, self.padding_idx)
        return Positions(order, within, consecutive=False, pads=pads)

    def embed(self, x, positions):
        if self.config.inner == "sinusoidal":
            return x + sinusoid(positions.within, self.shape.embed_dim).to(x.dtype)
        return x + F.embedding(positions.within.clamp(max=self.config.size - 1), self.weight)


@dataclass(frozen=True)
class BipeRopeConfig(SegmentConfig, RopeConfig):
    pass


@register("bipe_rope")
class BipeRope(BiPE, Rope):
    """Inner positions added at the input, RoPE between segments (He et al., 2024)."""

    Config = BipeRopeConfig


@dataclass(frozen=True)
class BipeAlibiConfig(SegmentConfig, AlibiConfig):
    multiplier: float = option(96.0, "factor on ALiBi's slopes, since segments are few")


@register("bipe_alibi")
class BipeAlibi(BiPE, Alibi):
    """Inner positions added at the input, ALiBi between segments (He et al., 2024).

    bias = -multiplier * slope * (segment of the query - segment of the key).
    """

    Config = BipeAlibiConfig

    def __init__(self, config, shape):
        if not 0 < config.multiplier < math.inf:
            raise ValueError(
                f"--position-args multiplier={config.multiplier}: {self.name} needs a positive one"
            )
        super().__init__(config, shape)
        self.slopes = tuple(config.multiplier * slope for slope in self.slopes)
