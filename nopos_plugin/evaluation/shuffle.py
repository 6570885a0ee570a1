"""Word order: what it costs the tokens after a prefix that the prefix is in another order.

Haviv et al. (2022), appendix B, and their segments, appendix A.

DIFFERS from adihaviv/NoPos@01a557e adaptive_loss_shuffle.py:77: the tails of an adaptive softmax
count, too, and each sample has an order of its own, which a seed decides.
"""

import random

import torch

EIGHTHS = 8


def shuffled(source, begin, count, key):
    """`source` (T,) with `count` tokens from `begin` on in an order drawn from the str `key`."""
    order = list(range(begin, begin + count))
    random.Random(key).shuffle(order)
    return torch.cat([source[:begin], source[order], source[begin + count :]])


def gap(in_order, others):
    """Fields of a result: what orders cost the scored tokens of M windows, N of each.

    in_order: (M, N) nats. others: (K, M, N), in K other orders of each prefix, of which the mean
    counts. The standard error is that of the mean difference over windows, None of a single one.
    """
    mean = others.double().mean(0)
    differences = (mean - in_order.double()).mean(1)
    windows = len(differences)
    return {
        "tokens": in_order.numel(),
        "nats": in_order.double().sum().item(),
        "shuffled_nats": mean.sum().item(),
        "difference_standard_error_nats_per_token": (
            (differences.std() / windows**0.5).item() if windows > 1 else None
        ),
    }


def by_eighth(nats, places, length):
    """[{eighth, tokens, nats}] of windows of `length`, a multiple of 8; eighths from 1 on.

    nats: of the targets (N,), which are scored at these `places` (N,) of their windows.
    """
    eighth = places.long() * EIGHTHS // length
    tokens = torch.bincount(eighth, minlength=EIGHTHS)
    sums = torch.bincount(eighth, weights=nats.double(), minlength=EIGHTHS)
    return [
        {"eighth": number, "tokens": count, "nats": total}
        for number, (count, total) in enumerate(
            zip(tokens.tolist(), sums.tolist(), strict=True), start=1
        )
    ]
