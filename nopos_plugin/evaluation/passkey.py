"""Passkey retrieval: a number told once in much filler, asked for at the end.

Introduced by Mohtashami and Jaggi, 2023; prompts, draws and scoring as of dwzhu-pku/PoSE@a3d4ba8
src/eval_passkey.py:30-69.
"""

import random
import re
from collections.abc import Callable
from typing import NamedTuple

TASK = (
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. "
    "I will quiz you about the important information there."
)
FILLER = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
QUESTION = "What is the pass key? The pass key is"
KEYS = 50_000  # the largest; the least is 1
NEW_TOKENS = 10  # of an answer
DEPTHS = 5  # ranges of depth that are told apart
BARE, COPY = 69, 25  # tokens of a prompt without filler, and of a copy, as published


class Passkey(NamedTuple):
    """A prompt: `before` copies of the filler, the `key`, `after` more copies, and the question."""

    before: int
    after: int
    key: int

    def parts(self) -> list[str]:
        """Task, filler, key, filler, question; copies touch."""
        return parts(FILLER * self.before, self.key, FILLER * self.after)

    def text(self) -> str:
        return "\n".join(self.parts())

    @property
    def depth(self) -> float:
        """Where the key is told: 0 (at the begin) to 1; 0 where there is no filler."""
        return self.before / max(1, self.before + self.after)


def parts(before: str, key: int, after: str) -> list[str]:
    """Those of a prompt, which newlines join."""
    return [
        TASK,
        before,
        f"The pass key is {key}. Remember it. {key} is the pass key.",
        after,
        QUESTION,
    ]


def lesson(least: int, most: int, draw: random.Random) -> str:
    """A prompt and its answer, to train on, with `least` to `most` words of filler: whole copies
    would teach a model to look so many copies back, and not for the key."""
    words = draw.randint(least, most)
    before = draw.randint(0, words)
    key = draw.randint(1, KEYS)
    filler = (FILLER * (words + 1)).split(" ")
    prompt = parts(" ".join(filler[:before]), key, " ".join(filler[: words - before]))
    return "\n".join(prompt) + f" {key}."


def drawn(copies: int, draw: random.Random) -> Passkey:
    """With so many copies of the filler. Draws: those before the key, then the key."""
    before = draw.randint(0, copies)
    return Passkey(before, copies - before, draw.randint(1, KEYS))


def published(length: int) -> int:
    """Copies of the filler in a prompt of at most `length` tokens of LLaMA's (4 % fewer, in fact:
    each part was counted with a begin of its own). Raises ValueError if there is none as short."""
    if length < BARE:
        raise ValueError(
            f"--lengths {length}: a prompt without filler counts as {BARE} tokens; give as many"
        )
    return (length - BARE) // COPY


class Prompt(NamedTuple):
    """As a model reads it. depth: as of Passkey."""

    key: int
    depth: float
    tokens: list[int]


def exact(length: int, encode: Callable[[str], list[int]], draw: random.Random) -> Prompt:
    """One of `length` tokens: what is too much is cut where the longer stretch of filler begins.

    encode: text -> tokens. Raises ValueError if none is as short.
    """
    bare = len(encode(Passkey(0, 0, KEYS).text()))
    copy = len(encode(FILLER * 3)) - len(encode(FILLER * 2))
    if length < bare:
        raise ValueError(f"without any filler a prompt has {bare} tokens, {bare - length} more")
    made = drawn(-(-(length - bare) // copy), draw)
    before = made.before > made.after
    while len(tokens := encode(made.text())) < length:
        made = made._replace(before=made.before + before, after=made.after + (not before))
    surplus = len(tokens) - length
    begin = len(encode("\n".join(made.parts()[: 1 if before else 3]) + "\n"))
    filler = [made.before * copy - surplus * before, made.after * copy - surplus * (not before)]
    depth = filler[0] / max(1, sum(filler))
    return Prompt(made.key, depth, tokens[:begin] + tokens[begin + surplus :])


def right(answer: str, key: int) -> bool:
    """Is the first number in the text `answer` the key?"""
    found = re.search("[0-9]+", answer)
    return found is not None and int(found[0]) == key


def spaced(text: str) -> str:
    """`text` with digits and punctuation apart, as words: for vocabularies that have no numbers."""
    return re.sub(r" *([0-9]|[^\w\s]) *", r" \1 ", text)


def unspaced(text: str) -> str:
    """`text` with digits together again."""
    return re.sub(r"(?<=[0-9]) +(?=[0-9])", "", text)


def by_depth(depths: list[float], hits: list[bool]) -> list[dict]:
    """[{from, to, trials, correct}]: trials whose key is told at a depth `from` (included) to `to`
    (left out, but for 1), in DEPTHS equal ranges; those without trials are left out."""
    places = [min(int(depth * DEPTHS), DEPTHS - 1) for depth in depths]
    return [
        {
            "from": place / DEPTHS,
            "to": (place + 1) / DEPTHS,
            "trials": places.count(place),
            "correct": sum(hit for at, hit in zip(places, hits, strict=True) if at == place),
        }
        for place in sorted(set(places))
    ]
