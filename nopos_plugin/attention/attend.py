"""attend: one entry to every kernel."""

from nopos_plugin.attention.reference import reference
from nopos_plugin.attention.sdpa import sdpa

KERNELS = {"reference": reference, "sdpa": sdpa}


def attend(q, k, v, context, layer, dropout=0.0):
    """Causal attention with the encoding of `context`.

    q (B, H, T, D), k and v (B, H, S, D), T <= S, queries being the last rows -> (B, H, T, D) in
    q's dtype. Scores are q.k / sqrt(D), times the encoding's logit scale, plus its bias in
    `layer`; a query sees the keys of its row and before, but no pad, and gets zeros if that leaves
    none. `dropout`: probability on the attention weights. `context.kernel`: see `choose`.
    """
    scale = context.encoding.logit_scale * q.size(-1) ** -0.5
    return KERNELS[choose(context.kernel)](q, k, v, context, layer, scale, dropout)


def choose(kernel):
    """What `kernel` means, a name in KERNELS or `auto`: sdpa, whatever the encoding."""
    return "sdpa" if kernel == "auto" else kernel
