"""Orders in which windows are seen."""

import itertools
import random


def batches(count, size, number, seed):
    """`number` lists of `size` indices of 0, ..., count - 1; each index once before any twice.

    Every epoch has an order of its own, drawn from (seed, epoch).
    """
    indices = itertools.chain.from_iterable(
        random.Random(f"{seed} {epoch}").sample(range(count), count) for epoch in itertools.count()
    )
    return [list(itertools.islice(indices, size)) for _ in range(number)]
