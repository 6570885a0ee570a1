"""The contract of a task: examples by length, and what is right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, NamedTuple

from nopos_plugin.data.reasoning.scratchpad import COMPONENTS, Step, render


class Example(NamedTuple):
    """A question and its answer; as text, they are `source` and then `completion`.

    separator: what parts them, or "". target: the answer as text, without a scratchpad. answer: as
    `Task.extract` reads it from a text. length: what accuracy is plotted against. category: that of
    the original, finer than the length for some tasks. steps: of the gold scratchpad.
    """

    prompt: str
    separator: str
    target: str
    answer: Any
    length: int
    category: str
    steps: tuple[Step, ...] = ()

    @property
    def source(self) -> str:
        """What a model is given; it ends in a blank, or in `separator`, which does."""
        return self.prompt + self.separator

    def completion(self, components: str = "") -> str:
        """What a model is to write, after a scratchpad of `components` (see `scratchpad`)."""
        return render(self.steps, components) + self.target


class Task:
    """A task of one variant, from short examples to long ones.

    variants: the first is the default. unit: of a length. train, test: the study's lengths.
    forbids: components that its scratchpad cannot have; all, where there is none. A task has a
    function `example`, which makes an Example of raw values, too; its arguments are the task's own.
    """

    name: ClassVar[str]
    variants: ClassVar[tuple[str, ...]] = ("plain",)
    unit: ClassVar[str]
    forbids: ClassVar[str] = COMPONENTS
    train: range
    test: range

    def __init__(self, variant: str | None = None, train=None, test=None):
        """train, test: other ranges of lengths than the study's, to be trained on and validated
        with, and to be tested with. Raises ValueError for those that cannot be made."""
        self.variant = self.variants[0] if variant is None else variant
        if self.variant not in self.variants:
            known = ", ".join(self.variants)
            raise ValueError(f"--variant {variant}: {self.name} has none such; known are {known}")
        self.train = self.train if train is None else train
        self.test = self.test if test is None else test
        for split in ("train", "test"):
            lengths = self.range_of(split)
            self.check(f"--{split}-lengths {lengths.start}:{lengths.stop - 1}", lengths)

    def range_of(self, split: str) -> range:
        """The lengths of a split: train, valid or test."""
        return {"train": self.train, "valid": self.train, "test": self.test}[split]

    def check(self, said: str, lengths: range) -> None:
        """Raises ValueError, which begins with `said`, for lengths that cannot be made."""
        raise NotImplementedError

    def examples(self, split: str, size: int | None = None, seed: int = 1) -> Iterator[Example]:
        """Those of a split, `size` in all: the same ones for the same seed, wherever it runs."""
        raise NotImplementedError

    def covering(self) -> Iterable[Example]:
        """A few, in which everything is that can be in any: see `pieces.vocabulary`."""
        raise NotImplementedError

    def extract(self, text: str) -> Any:
        """The answer in `text`, the source and what a model wrote after it, or None."""
        raise NotImplementedError

    def right(self, text: str, answer: Any) -> bool:
        """Does `text`, as of `extract`, give this `answer`, as of an Example?"""
        return self.extract(text) == answer
