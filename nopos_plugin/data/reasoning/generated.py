"""Tasks whose examples are drawn."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from nopos_plugin.data.reasoning.base import Example, Task
from nopos_plugin.data.reasoning.splits import ENOUGH, SIZES, counts, held_out


class Generated(Task):
    """A task that makes its examples up, each of (seed, task, variant, split, length, index) alone.

    lengths: those that it can make. sizes: of the study's splits, by their names. What is drawn
    rests on `random.Random` seeded with a text, and on its randrange, choice and shuffle: the same
    in CPython 3.10 to 3.13, and held by golden tests.
    """

    lengths: ClassVar[range] = range(1, 1001)
    sizes: ClassVar[dict[str, int]] = SIZES

    # DIFFERS from McGill-NLP/length-generalization@40f8a44 scripts/dataset_builders: each example
    # is drawn by itself, where a builder's one generator runs through all of them, so that a split
    # of another size has the same examples; and a validation example is one that training has not.

    def raw(self, length: int, random: random.Random) -> tuple:
        """Arguments of `example` for one of `length`."""
        raise NotImplementedError

    def example(self, *raw: Any) -> Example:
        """The Example of raw values, such as `raw` draws."""
        raise NotImplementedError

    def covering_raw(self) -> Iterable[tuple]:
        """Arguments of `example` for `covering`."""
        raise NotImplementedError

    def space(self, length: int) -> int:
        """How many examples of `length` there are."""
        raise NotImplementedError

    def weight(self, length: int) -> int:
        """The share of a split that this length has, relative to the others."""
        return 1

    def covering(self) -> Iterator[Example]:
        return (self.example(*raw) for raw in self.covering_raw())

    def check(self, said, lengths):
        if not lengths or lengths[0] not in self.lengths or lengths[-1] not in self.lengths:
            raise ValueError(
                f"{said}: {self.name} can make {self.lengths[0]} to {self.lengths[-1]} "
                f"{self.unit}; give lengths of these, the least first"
            )

    def draw(self, length: int, random: random.Random) -> Example:
        """One of `length`, of nothing but `random`; ValueError for those not in `lengths`."""
        self.check(f"length {length}", range(length, length + 1))
        return self.example(*self.raw(length, random))

    def at(self, split: str, length: int, index: int, seed: int) -> Example:
        """The example `index` among those of `length` in a split. See `splits.held_out`."""
        draw = random.Random(f"{seed} {self.name} {self.variant} {split} {length} {index}")
        parted = length in self.train and self.space(length) >= ENOUGH
        while True:
            made = self.draw(length, draw)
            if not parted or held_out(made.prompt) == (split != "train"):
                return made

    def examples(self, split, size=None, seed=1):
        """By length; `size` is the study's unless given, see `splits.counts`."""
        size = self.sizes[split] if size is None else size
        for length, count in counts(size, self.range_of(split), self.weight).items():
            for index in range(count):
                yield self.at(split, length, index, seed)
