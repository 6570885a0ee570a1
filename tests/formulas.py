"""Softmax attention and the bias of every encoding in float64, retyped from the papers.

The oracle of the kernels: plain (B, H, T, S) matrices, and nothing of nopos_plugin.
"""

import math

import torch
import torch.nn.functional as F

PAD, END, STOP = 1, 2, 4  # ids of <pad>, </s> and the full stop


def slopes(heads):
    closest = 2 ** math.floor(math.log2(heads))
    listed = [2.0 ** (-8 * (h + 1) / closest) for h in range(closest)]
    listed += [2.0 ** (-4 * (h + 1) / closest) for h in range(0, 2 * closest, 2)]
    return torch.tensor(listed[:heads], dtype=torch.float64).view(heads, 1, 1)


def alibi(weights, d, heads):
    return -slopes(heads) * d


def bipe_alibi(weights, d, heads):
    return -96 * slopes(heads) * d


def kerple_log(weights, d, heads):
    r1, r2 = (F.softplus(weights[raw]).view(heads, 1, 1) for raw in ("raw_r1", "raw_r2"))
    return -r1 * torch.log(1 + r2 * d)


def kerple_power(weights, d, heads):
    r1 = F.softplus(weights["raw_r1"]).view(heads, 1, 1)
    r2 = 2 / (1 + torch.exp(-weights["raw_r2"])).view(heads, 1, 1)
    return -r1 * torch.where(d > 0, d.clamp(min=1) ** r2, 0.0)


def t5(weights, d, heads):
    far = 16 + (16 * torch.log(d.clamp(min=1) / 16) / math.log(8) + 1e-12).floor()
    bucket = torch.where(d < 16, d, far.clamp(max=31)).long()  # (B, 1, T, S)
    return weights["weight"][bucket[:, 0]].permute(0, 3, 1, 2)


BIASES = {f.__name__: f for f in (alibi, bipe_alibi, kerple_log, kerple_power, t5)}
FAMILIES = (*BIASES, "nopos", "learned", "sinusoidal", "rope", "bipe_rope")


def turned(x, order):
    """RoPE: channels (i, i + D/2) of `x` (B, H, T, D) float64 as one complex number."""
    half = x.size(-1) // 2
    rates = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    pairs = torch.complex(x[..., :half], x[..., half:])
    angles = order.double()[:, None, :, None] * rates
    pairs = pairs * torch.complex(angles.cos(), angles.sin())
    return torch.cat([pairs.real, pairs.imag], -1)


def order_of(name, tokens):
    """Positions (B, T) counted by hand: tokens but no pads, or segments ended by . or </s>."""
    bipe, rows = name.startswith("bipe"), []
    for row in tokens.tolist():
        count, order = 0, []
        for token in row:
            order.append(count if bipe or token != PAD else 0)
            count += token in (END, STOP) if bipe else token != PAD
        rows.append(order)
    return torch.tensor(rows)


def visible(tokens, window=None, documents=False):
    """(B, 1, S, S) bool: who sees whom. A document begins at each </s>."""
    rows = []
    for row in tokens.tolist():
        begin, sees = 0, []
        for query, token in enumerate(row):
            begin = query if documents and token == END else begin
            first = max(begin, query - window + 1) if window else begin
            sees.append([first <= key <= query and row[key] != PAD for key in range(len(row))])
        rows.append([sees])
    return torch.tensor(rows)


def exact(name, weights, q, k, v, order, seen):
    """softmax(q k / sqrt(D) + bias) v, where `seen`; a query that sees nothing gives 0.

    q (B, H, T, D) are the last of the keys' tokens, at `order` (B, S); seen: (B, 1, S, S).
    """
    new = q.size(2)
    if "rope" in name:
        q, k = turned(q, order[:, -new:]), turned(k, order)
    distance = (order[:, -new:].unsqueeze(2) - order.unsqueeze(1)).unsqueeze(1).double()
    scores = q @ k.mT / math.sqrt(q.size(-1))
    if name in BIASES:
        scores = scores + BIASES[name](weights, distance.clamp(min=0), q.size(1))
    seen = seen[:, :, -new:]
    scores = scores.masked_fill(~seen, -1e9)
    parts = (scores - scores.amax(-1, keepdim=True)).exp() * seen
    return parts / parts.sum(-1, keepdim=True).clamp(min=1e-300) @ v
