"""A block of a source, tokenized: what a worker process does."""

import os
import threading
import time
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from nopos_plugin.prepare import records
from nopos_plugin.prepare.tokenizers.base import parts

SPACE = np.zeros(256, dtype=bool)
SPACE[list(b" \t\n\v\f\r\x1c\x1d\x1e\x1f")] = True
STRANGERS = 20  # names that are no component: so many are counted
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


def batch(recipe, block, source, line):
    """The Batch of a block (bytes), which begins at that line of the source of that name."""
    counts: Counter = Counter()
    texts, numbers, lines = [], [], []
    strangers: Counter = Counter()
    for text, component, number in recipe.format.parse(block, counts):
        known = component if component in recipe.components else ""
        counts[f"of {known}"] += bool(known)
        strangers[component] += not known and bool(component)
        if known in recipe.wanted:
            texts.append(text)
            numbers.append(recipe.components.index(known))
            lines.append(line + number)
        else:
            counts["not wanted"] += 1
    for name, number in strangers.most_common(STRANGERS):
        counts[f"named {name}"] += number
    meta = np.zeros(len(texts), dtype=records.META)
    meta["component"] = numbers
    meta["characters"] = [len(text) for text in texts]
    for number, text in enumerate(texts):
        meta["words"][number] = words(text)
        meta["bytes"][number] = len(text) if text.isascii() else len(text.encode())
        if recipe.seed is not None:
            meta["key"][number] = records.key(recipe.seed, source, lines[number])
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


def spell(lists):
    """(UTF-8 of the words in `lists` joined by spaces, how many they and `</s>` are)."""
    spelled, tokens = [], 1
    for words in filter(None, lists):
        spelled.append(" ".join(words).encode())
        tokens += len(words)
    return b" ".join(spelled), tokens


def words(text):
    """How many words a text has: what white space parts, as `str.split` has it."""
    if not text.isascii():
        return sum(len(part.split()) for part in parts(text))
    count, after_space = 0, True
    for start in range(0, len(text), PIECE):
        space = SPACE[np.frombuffer(text[start : start + PIECE].encode(), dtype=np.uint8)]
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


def work(block, source, line):
    """`batch` by the recipe of this process."""
    return batch(_recipe, block, source, line)
