"""The dictionary of a data-bin: the tokenizer's own, or counted from the words to train on."""

from collections import Counter

import numpy as np

from nopos_plugin.prepare.batch import EOS, PIECE
from nopos_plugin.prepare.choose import SPLITS
from nopos_plugin.prepare.dictionary import of_symbols, of_words
from nopos_plugin.prepare.indexed import dtype


def vocabulary(tokenizer, ranges, threshold, nwords):
    """(fairseq's Dictionary, coded: the bytes of a record -> the bytes of its tokens).

    ranges() gives what `assemble.ranges` gives, each time from the start. threshold, nwords: as of
    `of_words`, or None.
    """
    if tokenizer.symbols is not None:
        return of_symbols(tokenizer.symbols, tokenizer.counts), bytes
    counts: Counter = Counter()
    for _, _, documents in ranges():
        for split, data in documents:
            if split == SPLITS.index("train"):
                for words in pieces(data):
                    counts.update(words)
    counts.pop("", None)  # of a document without a word
    dictionary = of_words(counts, threshold or -1, nwords or -1)
    return dictionary, coder(dictionary)


def check(tokenizer, wanted):
    """Raises ValueError for limits, of a choose.Wanted, of a vocabulary that is given."""
    if tokenizer.symbols is not None and (wanted.threshold or wanted.nwords):
        raise ValueError(
            f"--threshold, --nwords: --tokenizer {tokenizer.name} has a vocabulary of its own"
        )


def coder(dictionary):
    """Words, as UTF-8 joined by spaces -> the bytes of their indices, and of `</s>`."""
    kind, indices, unknown = dtype(len(dictionary)), dictionary.indices, dictionary.unk()

    def code(data):
        found = (
            np.array([indices.get(word, unknown) for word in words if word], dtype=kind).tobytes()
            for words in pieces(data)
        )
        return b"".join([*found, np.array([EOS], dtype=kind).tobytes()])

    return code


def pieces(data):
    """[words] of UTF-8 joined by spaces, PIECE bytes at a time: as a list they are far larger."""
    start = 0
    while start < len(data):
        stop = data.find(b" ", start + PIECE)
        stop = len(data) if stop < 0 else stop
        yield data[start:stop].decode().split(" ")
        start = stop + 1
