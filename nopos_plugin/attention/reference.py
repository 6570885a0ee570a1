"""Attention in a few lines with a float32 softmax: the oracle of the other kernels."""

import torch
import torch.nn.functional as F


def reference(q, k, v, context, layer, scale, dropout):
    """As `attend`. A query that sees no key gets zeros."""
    return (F.dropout(weights(q, k, context, layer, scale), dropout) @ v.float()).to(q.dtype)


def weights(q, k, context, layer, scale):
    """How much each query attends to each key, (B, H, T, S) float32; rows add up to 1, or are 0."""
    scores = scale * (q.float() @ k.float().transpose(-2, -1))
    bias = context.bias(layer)
    if bias is not None:
        scores = scores + bias
    hidden = context.hidden()
    return scores.masked_fill(hidden, -torch.inf).softmax(-1).masked_fill(hidden, 0.0)
