"""PyTorch's scaled_dot_product_attention: `is_causal` where nothing is added, else a dense mask."""

import torch
import torch.nn.functional as F


def sdpa(q, k, v, context, layer, scale, dropout):
    """As `attend`; the bias is formed in float32 and cast to the scores' dtype last."""
    num_queries, num_keys = q.size(2), k.size(2)
    shared = {"enable_gqa": True} if k.size(1) < q.size(1) else {}  # of torch 2.5 and later
    bias = context.bias(layer)
    if bias is None and context.merely_causal and num_queries in (1, num_keys):
        # is_causal counts from the top left: right for T = S, and a single query sees every key.
        return F.scaled_dot_product_attention(
            q, k, v, dropout_p=dropout, is_causal=num_queries > 1, scale=scale, **shared
        )
    mask = torch.zeros((), device=q.device) if bias is None else bias
    # A quarter of the range: far keys vanish, and no sum of score and bias overflows to -inf.
    smallest = max(torch.finfo(q.dtype).min, torch.finfo(torch.float).min) / 4
    mask = mask.clamp(min=smallest).to(q.dtype)
    hidden = context.hidden()
    mask = mask.masked_fill(hidden, -torch.inf)
    out = F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, dropout_p=dropout, scale=scale, **shared
    )
    if context.key_pads is None:
        return out
    return out.masked_fill(hidden.all(-1, keepdim=True), 0.0)
