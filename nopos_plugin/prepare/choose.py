"""Which documents are taken, and into which split: by records in order, of which any number come.

Trimming and weights look at all records first, and keep counts of lengths and of tokens; splits
and limits follow the order, which is random.
"""

import math
from collections import Counter
from typing import NamedTuple

import numpy as np

SPLITS = ("train", "valid", "test")
LEFT_OUT = -1
BINS = 2**16  # of random numbers, which decide what a mixture takes
PASSES = 20  # over the records, at most, until it is CLOSE
CLOSE = 0.001  # of the tokens that are wanted


class Wanted(NamedTuple):
    """What a user asks for.

    trim: the share of documents that are left out at each end of the lengths of their component.
    min_tokens: of a document, `</s>` among them.
    weights: {number of a component: its share of all tokens}, no other component then; or None.
    valid_documents, test_documents: so many, the first ones, are no training documents; below 1,
        that share of them.
    max_documents, max_tokens: of training, at most; None: no limit. A document that is too long for
        what is left of the tokens is passed over.
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
    most = math.floor(trim * numbers.sum() + 1e-9)  # 0.29 * 100 is below 29
    shorter = np.cumsum(numbers) - numbers
    longer = numbers.sum() - np.cumsum(numbers)
    return int(lengths[shorter <= most][-1]), int(lengths[longer <= most][0])


class Part(NamedTuple):
    """Documents of the bins [low, high), by `drawn`, that have at most `most` tokens."""

    low: int
    high: int
    most: int


def budgets(tokens, wanted):
    """{component: tokens that are taken of it}, by the weights.

    tokens: {component: how many there are}. The largest mixture that repeats nothing, or that has
    wanted.max_tokens. Raises ValueError if a component has none.
    """
    for component in wanted.weights:
        if not tokens.get(component):
            raise ValueError(f"component {component} has a weight, and no document")
    total = sum(wanted.weights.values())
    weights = {component: weight / total for component, weight in wanted.weights.items()}
    size = min(tokens[component] / weight for component, weight in weights.items())
    if wanted.max_tokens is not None:
        size = min(size, wanted.max_tokens)
    return {component: int(size * weight + 0.5) for component, weight in weights.items()}


def mixture(budgets, records):
    """{component: [Part]}: documents of as many tokens as the `budgets` say, hardly fewer.

    records() gives those that may be taken, some at a time, whenever it is called. What does not
    fit into what is left is passed over: documents of one length and another are as likely as long
    as they fit.
    """
    found: dict = {component: [] for component in budgets}
    left, low = dict(budgets), dict.fromkeys(budgets, 0)
    for _ in range(PASSES):
        tokens = {component: np.zeros(BINS, dtype=np.int64) for component in left}
        for meta in records():
            bins = drawn(meta["key"])
            for component, sums in tokens.items():
                fits = (meta["component"] == component) & (meta["tokens"] <= left[component])
                fits &= bins >= low[component]
                np.add.at(sums, bins[fits], meta["tokens"][fits])
        for component, sums in tokens.items():
            taken = np.cumsum(sums)
            high = int(np.searchsorted(taken, left[component], side="right"))
            if high > low[component]:
                found[component].append(Part(low[component], high, left[component]))
                left[component] -= int(taken[high - 1])
            # of a bin that is too much as a whole, nothing is taken
            low[component] = max(high, low[component] + 1)
            if high == BINS or left[component] <= CLOSE * budgets[component]:
                del left[component]
        if not left:
            break
    return found


class Choice:
    """Splits of records that come in order.

    limits: as of Lengths, of the components that are trimmed. mixture: as of `mixture`, or None.
    """

    def __init__(self, wanted, limits, mixture):
        self.wanted, self.limits, self.mixture = wanted, limits, mixture
        self.held_out = self.documents = self.tokens = 0  # so far; the last two of training

    def kept(self, meta):
        """Which of the records are taken at all."""
        kept = meta["tokens"] >= self.wanted.min_tokens
        for component, (least, most) in self.limits.items():
            fits = (least <= meta["characters"]) & (meta["characters"] <= most)
            kept &= fits | (meta["component"] != component)
        if self.mixture is not None:
            bins, mixed = drawn(meta["key"]), np.zeros(len(meta), dtype=bool)
            for component, parts in self.mixture.items():
                for low, high, most in parts:
                    its = (low <= bins) & (bins < high) & (meta["tokens"] <= most)
                    mixed |= its & (meta["component"] == component)
            kept &= mixed
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
        found[train] = LEFT_OUT
        train = train[self.within_limits(meta["tokens"][train])]
        found[train] = SPLITS.index("train")
        return found

    def within_limits(self, tokens):
        """Which of the next training documents are taken, (documents,) bool: what does not fit into
        max_tokens is passed over, and what fits goes on."""
        most, tokens = self.wanted.max_tokens, tokens.astype(np.int64)
        taken = np.ones(len(tokens), dtype=bool)
        if most is not None and self.tokens + tokens.sum() > most:
            left = most - self.tokens
            for number, size in enumerate(tokens.tolist()):
                taken[number] = size <= left
                left -= size if size <= left else 0
        if self.wanted.max_documents is not None:
            taken &= self.documents + np.cumsum(taken) <= self.wanted.max_documents
        self.documents += int(taken.sum())
        self.tokens += int(tokens[taken].sum())
        return taken


def drawn(keys):
    """Numbers in [0, BINS), random even where keys rise (SplitMix; Steele et al., 2014)."""
    mixed = keys + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(48)).astype(np.int64)
