"""fairseq dictionaries: of given symbols, or of counted words."""

from fairseq.data import Dictionary


def of_symbols(symbols, counts=None):
    """The Dictionary whose lines are `symbols` in this order; counts: one each, else 1."""
    dictionary = Dictionary()
    for symbol, count in zip(symbols, counts or [1] * len(symbols), strict=True):
        if symbol in dictionary:
            raise ValueError(f"{symbol!r} would be twice in the dictionary")
        dictionary.add_symbol(symbol, int(count))
    return dictionary


def of_words(counts, threshold=-1, nwords=-1):
    """The Dictionary that fairseq-preprocess makes of {word: count}.

    By falling count, equals in the order of their characters. threshold: words that occur less
    often are `<unk>`; nwords: how many entries at most, `<s>` `<pad>` `</s>` `<unk>` among them;
    -1: no limit. Filled up with madeupword0000 ... to a multiple of 8.
    """
    dictionary = Dictionary()
    for word, count in counts.items():
        dictionary.add_symbol(word, int(count))
    dictionary.finalize(threshold=threshold, nwords=nwords, padding_factor=8)
    return dictionary
