"""What an n-gram model of the training text spends on the validation text: the mark of the study.

    python ngram.py DATA-BIN ORDER TEXT

Interpolated Kneser-Ney over the tokens of the data-bin, with one discount an order, which is
n1 / (n1 + 2 n2) of the grams that occur once and twice (Chen and Goodman, 1999, section 4.1; 0.5 if
none occurs once), and a uniform distribution over the dictionary below the unigrams. And 5-grams of
the bytes of TEXT/train.txt and TEXT/valid.txt, for comparison. Prints a line of JSON.
"""

import json
import sys

import numpy as np
from fairseq.data import Dictionary
from fairseq.data.data_utils import load_indexed_dataset


def tokens(data, split, dictionary):
    """All of a split, (N,) int64, after the </s> that opens its first window."""
    rows = load_indexed_dataset(f"{data}/{split}", dictionary)
    return np.concatenate([[dictionary.eos()], *(rows[n].numpy() for n in range(len(rows)))])


def grams(text, order, types):
    """The names of all grams of that order, (N - order + 1,): tokens as digits of a number."""
    length = len(text) - order + 1
    return sum(text[n : n + length] * types ** (order - 1 - n) for n in range(order))


class Level:
    """The grams of one order with their counts, and what their contexts count in all."""

    def __init__(self, names, counts, types):
        self.names, self.counts = names, counts
        self.contexts, inverse, self.followers = np.unique(
            names // types, return_inverse=True, return_counts=True
        )
        self.totals = np.bincount(inverse, weights=counts)
        ones, twos = (counts == 1).sum(), (counts == 2).sum()
        self.discount = ones / (ones + 2 * twos) if ones else 0.5

    def interpolate(self, names, lower, types):
        """p (N,) of the last token of each gram; `lower` (N,) is that after a shorter context."""
        gram, seen = find(names, self.names)
        counts = np.where(seen, self.counts[gram], 0)
        context, known = find(names // types, self.contexts)
        kept = np.maximum(counts - self.discount, 0)
        shared = self.discount * self.followers[context]
        return np.where(known, (kept + shared * lower) / self.totals[context], lower)


def find(wanted, names):
    """(where in the sorted `names` each is, whether it is there)."""
    places = np.searchsorted(names, wanted).clip(max=len(names) - 1)
    return places, names[places] == wanted


def levels(text, order, types):
    """From unigrams to grams of `order`; below that a gram counts the tokens seen before it."""
    names, counts = np.unique(grams(text, order, types), return_counts=True)
    made = [Level(names, counts, types)]
    for shorter in range(order - 1, 0, -1):
        names, counts = np.unique(names % types**shorter, return_counts=True)
        made.append(Level(names, counts, types))
    return made[::-1]


def nats(train, valid, order, types):
    """-ln p of each token of `valid` but the first, (N - 1,), from `order` - 1 before it at most.

    train, valid: (N,) int64 below `types`; types to the power of `order` is below 2^63.
    """
    p = np.full(len(valid) - 1, 1 / types)
    for shorter, level in enumerate(levels(train, order, types)):
        lower = p[max(0, shorter - 1) :]
        skipped = 1 if shorter == 0 else 0  # the first token is given, not told
        lower[:] = level.interpolate(grams(valid, shorter + 1, types)[skipped:], lower, types)
    return -np.log(p)


def main(data, order, text):
    dictionary = Dictionary.load(f"{data}/dict.txt")
    train, valid = (tokens(data, split, dictionary) for split in ("train", "valid"))
    losses = nats(train, valid, int(order), len(dictionary))
    train, valid = (
        np.fromfile(f"{text}/{split}.txt", np.uint8).astype(np.int64)
        for split in ("train", "valid")
    )
    of_bytes = nats(train, valid, 5, 256)
    mark = {"order": int(order), "tokens": len(losses), "nats": losses.sum()}
    print(json.dumps({**mark, "byte_5_grams_nats_per_byte": of_bytes.mean()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
