"""How many examples of each length a split has, and which of them are kept from training."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import accumulate

SIZES = {"train": 100_000, "valid": 15_000, "test": 10_000}  # the study's, but for LEGO
ENOUGH = 1024  # examples of a length, for some to be kept from training


def counts(
    size: int, lengths: Sequence[int], weight: Callable[[int], int] = lambda length: 1
) -> dict[int, int]:
    """{length: examples}, `size` in all, in proportion to `weight`, to within one example.

    DIFFERS from McGill-NLP/length-generalization@40f8a44 scripts/dataset_builders: a size is what
    it says; there, each share is rounded down (14,944 for 15,000).
    """
    sums = list(accumulate(map(weight, lengths), initial=0))
    ends = [size * total // sums[-1] for total in sums]
    return {length: ends[i + 1] - ends[i] for i, length in enumerate(lengths)}


def held_out(prompt: str) -> bool:
    """Is an example with this prompt one of the eighth that is never trained on?

    Validation has no others, nor has a test at lengths of the training range, so that no example is
    in both, whatever the sizes and seeds. Lengths with fewer than ENOUGH examples in all (parity of
    up to 9 bits, one digit plus one digit) are not parted: a split repeats them, and may have those
    of another. The hash is cryptographic: bits of a checksum would be linear in those of the text,
    as parity is.
    """
    return sha256(prompt.encode()).digest()[0] < 32
