"""The dictionary of a data-bin: the tokenizer's own, or counted from the words to train on."""

from collections import Counter

import numpy as np

from nopos_plugin.prepare.batch import EOS
from nopos_plugin.prepare.choose import SPLITS
from nopos_plugin.prepare.dictionary import of_symbols, of_words
from nopos_plugin.prepare.indexed import dtype


def vocabulary(tokenizer, ranges, threshold, nwords):
    """(fairseq's Dictionary, coded: the bytes of a record -> the bytes of its tokens).

    ranges() gives what `assemble.ranges` gives, each time from the start. threshold, nwords: as of
    `of_words`, or None. Raises ValueError for those with a vocabulary that is given.
    """
    if tokenizer.symbols is not None:
        if threshold or nwords:
            raise ValueError(
                f"--threshold, --nwords: --tokenizer {tokenizer.name} has a vocabulary of its own"
            )
        return of_symbols(tokenizer.symbols), bytes
    counts: Counter = Counter()
    for _, _, documents in ranges():
        for split, data in documents:
            if split == SPLITS.index("train"):
                counts.update(data.decode().split(" "))
    counts.pop("", None)  # of a document without a word
    dictionary = of_words(counts, threshold or -1, nwords or -1)
    return dictionary, coder(dictionary)


def coder(dictionary):
    """Words, as UTF-8 joined by spaces -> the bytes of their indices, and of `</s>`."""
    kind, indices, unknown = dtype(len(dictionary)), dictionary.indices, dictionary.unk()

    def code(data):
        found = [indices.get(word, unknown) for word in data.decode().split(" ") if word]
        return np.array([*found, EOS], dtype=kind).tobytes()

    return code
