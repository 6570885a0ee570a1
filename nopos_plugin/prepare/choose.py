"""Which documents are taken, and into which split: by records in order, of which any number come.

Trimming and weights look at all records first, and keep counts of lengths and of tokens; splits
and limits follow the order, which is random.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np

SPLITS = ("train", "valid", "test")
LEFT_OUT = -1


class Wanted(NamedTuple):
    """What a user asks for.

    trim: the share of documents that are left out at each end of the lengths of their component.
    min_tokens: of a document, `</s>` among them.
    weights: {number of a component: its share of all tokens}, no other component then; or None.
    valid_documents, test_documents: so many, the first ones, are no training documents; below 1,
        that share of them.
    max_documents, max_tokens: of training, at most; None: no limit.
    threshold, nwords: of a dictionary that is counted, as of `dictionary.of_words`.
    """

    trim: float = 0.0
    min_tokens: int = 0
    weights: dict | None = None
    valid_documents: float = 0
    test_documents: float = 0
    max_documents: int | None = None
    max_tokens: int | None = None
    threshold: int | None = None
    nwords: int | None = None


class Lengths:
    """How many documents of each length there are, of one component after the other."""

    def __init__(self):
        self.counts = {}  # {component: Counter of characters}

    def add(self, meta):
        for component in np.unique(meta["component"]).tolist():
            lengths = meta["characters"][meta["component"] == component]
            values, numbers = np.unique(lengths, return_counts=True)
            found = dict(zip(values.tolist(), numbers.tolist(), strict=True))
            self.counts.setdefault(component, Counter()).update(found)

    def limits(self, trim):
        """{component: (least, most)}: at most the share `trim` is shorter, and as many longer."""
        return {component: limits(counts, trim) for component, counts in self.counts.items()}


def limits(counts, trim):
    """(least, most) characters of what stays of documents of `counts` {characters: documents}."""
    lengths = np.array(sorted(counts))
    numbers = np.array([counts[length] for length in lengths.tolist()])
    most = trim * numbers.sum()
    shorter = np.cumsum(numbers) - numbers
    longer = numbers.sum() - np.cumsum(numbers)
    return int(lengths[shorter <= most][-1]), int(lengths[longer <= most][0])


def shares(tokens, wanted):
    """{component: the share of its documents that is taken}, so that the tokens have the weights.

    tokens: {component: how many there are}. The largest mixture that repeats nothing, or that has
    wanted.max_tokens. Raises ValueError if a component has none.
    """
    if wanted.weights is None:
        return None
    for component in wanted.weights:
        if not tokens.get(component):
            raise ValueError(f"component {component} has a weight, and no document")
    total = sum(wanted.weights.values())
    weights = {component: weight / total for component, weight in wanted.weights.items()}
    size = min(tokens[component] / weight for component, weight in weights.items())
    if wanted.max_tokens is not None:
        size = min(size, wanted.max_tokens)
    return {component: size * weights[component] / tokens[component] for component in weights}


class Choice:
    """Splits of records that come in order.

    limits: as of Lengths, of the components that are trimmed. shares: as of `shares`, or None.
    """

    def __init__(self, wanted, limits, shares):
        self.wanted, self.limits, self.shares = wanted, limits, shares
        self.held_out = self.documents = self.tokens = 0  # so far; the last two of training

    def kept(self, meta):
        """Which of the records are taken at all."""
        kept = meta["tokens"] >= self.wanted.min_tokens
        for component, (least, most) in self.limits.items():
            fits = (least <= meta["characters"]) & (meta["characters"] <= most)
            kept &= fits | (meta["component"] != component)
        if self.shares is not None:
            for component in np.unique(meta["component"]).tolist():
                drawn = uniform(meta["key"]) < self.shares.get(component, 0.0)
                kept &= drawn | (meta["component"] != component)
        return kept

    def splits(self, meta, given):
        """The number of the split of each record, or LEFT_OUT.

        given: (records,) of a split that the source of a record is of, and then the record, too;
        0 if it is to be chosen.
        """
        found = np.where(self.kept(meta) | (given != 0), given, LEFT_OUT)
        places = np.flatnonzero(found == 0)
        valid, test = self.wanted.valid_documents, self.wanted.test_documents
        order = self.held_out + np.arange(len(places))
        found[places[order < valid]] = SPLITS.index("valid")
        found[places[(valid <= order) & (order < valid + test)]] = SPLITS.index("test")
        self.held_out += len(places)
        train = places[order >= valid + test]
        tokens = self.tokens + np.cumsum(meta["tokens"][train], dtype=np.int64)
        documents = self.documents + 1 + np.arange(len(train))
        over = np.zeros(len(train), dtype=bool)
        if self.wanted.max_tokens is not None:
            over |= tokens > self.wanted.max_tokens
        if self.wanted.max_documents is not None:
            over |= documents > self.wanted.max_documents
        found[train[over]] = LEFT_OUT
        if len(train):
            self.tokens, self.documents = int(tokens[-1]), int(documents[-1])
        return found


def uniform(keys):
    """Numbers in [0, 1), random even where keys rise (SplitMix; Steele et al., 2014)."""
    mixed = keys + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)) * 2.0**-53
