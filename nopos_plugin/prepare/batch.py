"""A block of a source, tokenized: what a worker process does."""

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from nopos_plugin.prepare import records

SPACE = np.zeros(256, dtype=bool)
SPACE[list(b" \t\n\v\f\r")] = True
EOS = 2  # `</s>` in every dictionary of fairseq's


class Recipe(NamedTuple):
    """How blocks become records.

    format: JsonLines or PlainText. tokenizer: as of nopos_plugin.prepare.tokenizers. dtype: of its
    indices in the data-bin; None for open vocabularies, whose words are kept as UTF-8.
    components: names, whose places are the numbers in the records; `""`, for documents that name
    none of these, is the last. wanted: the names of those that are taken. seed: None keeps the
    order of the source.
    """

    format: Any
    tokenizer: Any
    dtype: Any
    components: tuple
    wanted: frozenset
    seed: Any


class Batch(NamedTuple):
    """parts: as of records.by_bucket. counts: lines, and what was left out, and why."""

    parts: list
    counts: Counter
    documents: int
    tokens: int


def batch(recipe, block, start):
    """The Batch of a block (bytes), the documents before which in its source are `start` many."""
    counts: Counter = Counter()
    texts, numbers = [], []
    for text, component in recipe.format.parse(block, counts):
        known = component if component in recipe.components else ""
        counts[f"of {known}"] += bool(known)
        if known in recipe.wanted:
            texts.append(text)
            numbers.append(recipe.components.index(known))
        else:
            counts["not wanted"] += 1
    meta = np.zeros(len(texts), dtype=records.META)
    data, meta["tokens"] = contents(recipe, texts)
    meta["size"] = [len(one) for one in data]
    meta["component"] = numbers
    meta["characters"] = [len(text) for text in texts]
    encoded = [text.encode() for text in texts]
    meta["bytes"] = [len(one) for one in encoded]
    meta["words"] = [words(one) for one in encoded]
    if recipe.seed is None:
        meta["key"] = start + np.arange(len(texts))
    else:
        meta["key"] = [records.key(recipe.seed, one) for one in encoded]
    return Batch(records.by_bucket(meta, data), counts, len(texts), int(meta["tokens"].sum()))


def contents(recipe, texts):
    """([bytes of each text], [how many tokens it has, `</s>` among them])."""
    if recipe.dtype is None:
        cut = [recipe.tokenizer.split(text) for text in texts]
        return [" ".join(words).encode() for words in cut], [len(words) + 1 for words in cut]
    end = np.array([EOS])
    coded = [np.append(each, end).astype(recipe.dtype) for each in recipe.tokenizer.encode(texts)]
    return [each.tobytes() for each in coded], [len(each) for each in coded]


def words(text):
    """Words of a text (bytes): what white space of ASCII parts."""
    space = SPACE[np.frombuffer(text, dtype=np.uint8)]
    return int(np.count_nonzero(space[:-1] & ~space[1:])) + (len(space) > 0 and not space[0])


_recipe = None


def remember(recipe):
    """Make `recipe` the one of this process."""
    global _recipe
    _recipe = recipe


def work(block, start):
    """`batch` by the recipe of this process."""
    return batch(_recipe, block, start)
