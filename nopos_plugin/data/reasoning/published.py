"""Tasks whose examples are in published files."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from nopos_plugin.data.reasoning import extraction
from nopos_plugin.data.reasoning.base import Example, Task


class Published(Task):
    """A task that reads pairs of texts, all of `files` together, and parts them by length.

    DIFFERS from McGill-NLP/length-generalization@40f8a44 scripts/dataset_builders: the order is the
    seed's, and one for any order of the files; there, each run has another.
    """

    def __init__(self, files=(), variant=None, train=None, test=None):
        """files: of which `examples` are taken; without them a task says what is right, no more.

        Raises ValueError for a file that is malformed, naming its line.
        """
        self.pairs = sorted({self.example(*raw) for path in files for raw in self.read(path)})
        if files and not self.pairs:
            raise ValueError(f"--files {' '.join(map(str, files))}: nothing is in there")
        super().__init__(variant, train, test)
        if max(self.train.start, self.test.start) < min(self.train.stop, self.test.stop):
            raise ValueError(
                f"--test-lengths {self.test.start}:{self.test.stop - 1}: some are trained on; "
                f"{self.name} has each pair once, so that the ranges must not meet"
            )

    def read(self, path) -> Iterator[tuple[str, str]]:
        """Arguments of `example`, a pair a line."""
        raise NotImplementedError

    def example(self, source: str, target: str) -> Example:
        raise NotImplementedError

    def extract(self, text):
        return extraction.after_separator(text)

    def made(self, source, target, length):
        return Example(
            prompt=f"Solve: {source}",
            separator=extraction.SEPARATOR,
            target=target,
            answer=target,
            length=length,
            category=str(length),
        )

    def check(self, said, lengths):
        known = {pair.length for pair in self.pairs}
        if known and not any(length in lengths for length in known):
            raise ValueError(
                f"{said}: the files of {self.name} have none, but {min(known)} to {max(known)} "
                f"{self.unit}; give lengths of these, or more files"
            )

    def examples(self, split, size=None, seed=1):
        """The first `size` in the seed's order, all unless given; a tenth of the pairs of training
        lengths is validation."""
        if not self.pairs:
            raise ValueError(f"--files: {self.name} is read from its published files; name them")
        lengths = self.range_of(split)
        found = [pair for pair in self.pairs if pair.length in lengths]
        random.Random(f"{seed} {self.name} {lengths.start}:{lengths.stop - 1}").shuffle(found)
        tenth = len(found) // 10
        parts = {"train": found[tenth:], "valid": found[:tenth], "test": found}
        return iter(parts[split][:size])


def lines(path) -> Iterator[str]:
    """Without their ends; bytes that are no UTF-8 as escapes, which no task knows."""
    with open(path, encoding="utf-8", errors="backslashreplace") as file:
        for line in file:
            yield line.removesuffix("\n")


def words(text: str, known: Iterable[str]) -> bool:
    """Is `text` words of `known`, a blank between each two?"""
    return set(text.split(" ")) <= set(known)


def malformed(path, number: int, line: str, expected: str) -> ValueError:
    """What to raise for a line, counted from 1."""
    shown = line if len(line) <= 60 else line[:60] + "..."
    return ValueError(f"{path}, line {number}: {shown!r} is not {expected}")
