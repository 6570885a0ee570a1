"""How far apart two attentions are, and how far back an attention looks."""

import torch
from torch import Tensor

BINS = 20  # of how far back a query looks


def entropy(p: Tensor) -> Tensor:
    """In nats, (...) of distributions (..., S); 0 ln 0 is 0."""
    return -torch.special.xlogy(p, p).sum(-1)


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """The divergence in nats, 0 to ln 2, (...) of distributions (..., S) that broadcast.

    H((p + q) / 2) - (H(p) + H(q)) / 2 (Lin, 1991); its root is a metric (Endres and Schindelin,
    2003). Finite where one has a zero and the other none, which p ln(p / q) is not.
    """
    mixed = entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2
    return mixed.clamp(min=0)  # rounding


def of_heads(p: Tensor, q: Tensor, real: Tensor) -> Tensor:
    """The mean Jensen-Shannon distance over queries of each pair of heads, (B, H, G).

    p: (B, H, T, S), q: (B, G, T, S), attention weights. real: (B, T) bool, queries that count.
    A head of p is set beside all of q at a time: (B, G, T, S) numbers are held at once, not H
    times as many. In float64, as float32 sets equal weights a thousandth apart.
    """
    p, q = p.double(), q.double()
    count = real.sum(1).clamp(min=1)[:, None]
    rows = []
    for head in p.unbind(1):
        distance = jensen_shannon(head[:, None], q).sqrt()  # (B, G, T)
        rows.append((distance * real[:, None]).sum(-1) / count)
    return torch.stack(rows, dim=1)


def most_attended(p: Tensor) -> Tensor:
    """How far back the most attended key is, of all that a query sees: 0 itself, below 1.

    p: (B, H, T, T) weights -> (B, H, T), (query - argmax) / (query + 1), queries from 0 on
    (Kazemnejad et al., 2023).
    """
    query = torch.arange(p.size(-2), device=p.device)
    return (query - p.argmax(-1)) / (query + 1)


def histogram(back: Tensor, real: Tensor) -> Tensor:
    """The share of queries, over all heads, in each of BINS equal parts of 0 to 1, (B, BINS).

    back: (B, H, T), as of `most_attended`. real: (B, T) bool, queries that count.
    """
    bins = (back * BINS).long().clamp(max=BINS - 1)
    hits = torch.nn.functional.one_hot(bins, BINS) * real[:, None, :, None]  # (B, H, T, BINS)
    return hits.sum((1, 2)) / (real.sum(1) * back.size(1))[:, None]
