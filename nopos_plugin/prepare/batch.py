"""A block of a source, tokenized: what a worker process does."""

import os
import threading
import time
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from nopos_plugin.prepare import records

SPACE = np.zeros(256, dtype=bool)
SPACE[list(b" \t\n\v\f\r")] = True
PIECE = 2**20  # bytes in which words are looked for at a time
EOS = 2  # `</s>` in every dictionary of fairseq's


class Recipe(NamedTuple):
    """How blocks become records.

    format: JsonLines or PlainText. tokenizer: as of nopos_plugin.prepare.tokenizers. dtype: of its
    indices in the data-bin; None for open vocabularies, whose words are kept as UTF-8.
    components: names, whose places are the numbers in the records; `""`, for documents that name
    none of these, is the last. wanted: the names of those that are taken. seed: of the order;
    None keeps that of the source.
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
    """The Batch of a block (bytes). start: a number below those of all blocks that come later."""
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
    meta["component"] = numbers
    meta["characters"] = [len(text) for text in texts]
    for number, text in enumerate(texts):
        encoded = text.encode()
        meta["bytes"][number], meta["words"][number] = len(encoded), words(encoded)
        if recipe.seed is not None:
            meta["key"][number] = records.key(recipe.seed, start + number)
    data, meta["tokens"] = contents(recipe, texts)
    meta["size"] = [len(one) for one in data]
    return Batch(records.by_bucket(meta, data), counts, len(texts), int(meta["tokens"].sum()))


def contents(recipe, texts):
    """([bytes of each text], [how many tokens it has, `</s>` among them])."""
    if recipe.dtype is None:
        spelled = [spell(recipe.tokenizer.split(text)) for text in texts]
        return [data for data, _ in spelled], [tokens for _, tokens in spelled]
    end = np.array([EOS], dtype=recipe.dtype)
    coded = recipe.tokenizer.encode(texts)
    data = [np.append(each.astype(recipe.dtype, copy=False), end).tobytes() for each in coded]
    return data, [len(each) + 1 for each in coded]


def spell(parts):
    """(UTF-8 of the words in `parts`, lists, joined by spaces, how many they and `</s>` are)."""
    spelled, tokens = [], 1
    for words in filter(None, parts):
        spelled.append(" ".join(words).encode())
        tokens += len(words)
    return b" ".join(spelled), tokens


def words(text):
    """Words of a text (bytes): what white space of ASCII parts."""
    count, after_space = 0, True
    for start in range(0, len(text), PIECE):
        space = SPACE[np.frombuffer(text[start : start + PIECE], dtype=np.uint8)]
        count += int(np.count_nonzero(space[:-1] & ~space[1:])) + (after_space and not space[0])
        after_space = space[-1]
    return count


_recipe = None


def begin(recipe):
    """Make `recipe` the one of this process, which ends when the process that began it does."""
    global _recipe
    _recipe = recipe
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()


def _follow(parent):
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def work(block, start):
    """`batch` by the recipe of this process."""
    return batch(_recipe, block, start)
