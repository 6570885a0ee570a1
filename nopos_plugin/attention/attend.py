"""attend: one entry to every kernel, and which one serves."""

import logging
from functools import cache

import torch

from nopos_plugin.attention import flex
from nopos_plugin.attention.blockwise import blockwise
from nopos_plugin.attention.reference import reference
from nopos_plugin.attention.sdpa import sdpa

logger = logging.getLogger(__name__)
KERNELS = {"reference": reference, "sdpa": sdpa, "blockwise": blockwise, "flex": flex.flex}


def attend(q, k, v, context, layer, dropout=0.0, scaling=None):
    """Causal attention with the encoding of `context`.

    q (B, H, T, D), k and v (B, K, S, D), T <= S, queries being the last rows -> (B, H, T, D) in
    q's dtype. H / K query heads in a row share a key/value head. Scores are q.k times `scaling`,
    1 / sqrt(D) unless given, times the encoding's logit scale, plus its bias in `layer`; a query
    sees the keys that `context` lets it see, and gets zeros if those are none.
    `dropout`: probability on the attention weights. `context.kernel`: a name in KERNELS, or auto,
    see `choose`. Raises ValueError for what the kernel asked for cannot do.
    """
    context, unseen = context.within_reach()
    k, v = k[:, :, unseen:], v[:, :, unseen:]
    kernel, why = choose(q, context, layer, dropout)
    announce(kernel, why)
    scale = context.encoding.logit_scale * (q.size(-1) ** -0.5 if scaling is None else scaling)
    # sdpa needs no copies, but on a GPU in float32, where no fused kernel shares keys
    copies = kernel != "sdpa" or q.is_cuda and q.dtype == torch.float32
    if copies and k.size(1) < q.size(1):
        k, v = (x.repeat_interleave(q.size(1) // k.size(1), dim=1) for x in (k, v))
    return KERNELS[kernel](q, k, v, context, layer, scale, dropout)


def choose(q, context, layer, dropout):
    """The kernel for queries `q`, a name in KERNELS, and the reason, for the log."""
    if context.kernel != "auto":
        return context.kernel, "as asked"
    fused = context.encoding.bias is None and context.merely_causal
    if fused and context.num_queries in (1, context.num_keys) and (q.is_cuda or not dropout):
        return "sdpa", "nothing is added to the scores"
    if context.num_queries == 1:
        return "sdpa", "a single query"
    if q.is_cuda and flex.refusal(q, dropout, context, layer) is None:
        return "flex", "a bias or a mask, on a GPU"
    return "blockwise", "memory linear in length with a bias, a mask or dropout"


@cache
def announce(kernel, why):
    """Once for each pair."""
    logger.info(f"attention kernel: {kernel} ({why})")
