"""Which targets each forward of an evaluation sees, and which of them it scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Window(NamedTuple):
    """Targets start, ..., stop - 1 in one forward; those from `scored` on are scored."""

    start: int
    scored: int
    stop: int


class Schedule(Protocol):
    """The windows over a text of so many targets: how many, and each by its index."""

    def count(self, length: int) -> int: ...

    def at(self, length: int, index: int) -> Window: ...


@dataclass(frozen=True)
class Sliding:
    """Windows that score every target once, in order.

    window: targets of a forward, context and scored ones, at most.
    stride: targets that each window scores after the first, 1 to `window`. stride = window does not
        overlap; 1 gives every target the most context.
    first: targets that the first window scores: `window`, all that it sees, unless said; with
        `stride` every window but the last scores as many, as fairseq's --context-window does.
    Raises ValueError for anything else.
    """

    window: int
    stride: int
    first: int | None = None

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window {self.window}: a window has at least 1 token")
        if not 1 <= self.stride <= self.window:
            raise ValueError(
                f"stride {self.stride} with window {self.window}: tokens between windows would go "
                f"unscored; name a stride from 1 to {self.window}"
            )
        if self.first is not None and not 1 <= self.first <= self.window:
            raise ValueError(f"first {self.first}: the first window scores 1 to {self.window}")

    def count(self, length: int) -> int:
        """How many windows a text of `length` targets has."""
        rest = max(0, length - (self.first or self.window))
        return (length > 0) + -(-rest // self.stride)

    def at(self, length: int, index: int) -> Window:
        """The window `index` of 0, ..., count(length) - 1."""
        end = (self.first or self.window) + index * self.stride
        scored = end - self.stride if index else 0
        return Window(max(0, end - self.window), scored, min(end, length))


@dataclass(frozen=True)
class LastOfEach:
    """Windows that score the last `last` targets of each whole block of `block`, and no others.

    window: targets of a forward, `last` to `block`. With one `block` and `last`, windows of all
    sizes score the same targets, each with window - last targets before them or more.
    Raises ValueError for sizes out of order.
    """

    window: int
    last: int
    block: int

    def __post_init__(self) -> None:
        if not 1 <= self.last <= self.window <= self.block:
            raise ValueError(
                f"the last {self.last} tokens of windows of {self.window} in blocks of "
                f"{self.block}: these numbers must not fall"
            )

    @property
    def least(self) -> int:
        """Targets of a text that has a window."""
        return self.block

    def count(self, length: int) -> int:
        """How many windows a text of `length` targets has."""
        return length // self.block

    def at(self, length: int, index: int) -> Window:
        """The window `index` of 0, ..., count(length) - 1."""
        stop = (index + 1) * self.block
        return Window(stop - self.window, stop - self.last, stop)


@dataclass(frozen=True)
class Between:
    """Windows that score the targets begin, ..., end - 1 once, in order, and no others.

    Each scores `stride` new targets, 1 to `window`, and reaches back over as many before them as it
    holds, those before `begin` too. stride = window: no context but the window's own.
    Raises ValueError for anything else.
    """

    window: int
    stride: int
    begin: int
    end: int

    def __post_init__(self) -> None:
        Sliding(self.window, self.stride)
        if not 0 <= self.begin < self.end:
            raise ValueError(f"targets {self.begin} to {self.end}: there is none")

    @property
    def least(self) -> int:
        """Targets of a text that has a window."""
        return self.end

    def count(self, length: int) -> int:
        """How many windows a text of `length` targets has."""
        return -(-(self.end - self.begin) // self.stride) if self.end <= length else 0

    def at(self, length: int, index: int) -> Window:
        """The window `index` of 0, ..., count(length) - 1."""
        scored = self.begin + index * self.stride
        stop = scored + self.stride
        return Window(max(0, stop - self.window), scored, min(stop, self.end))


def windows(length: int, schedule: Schedule) -> Iterator[Window]:
    """All windows of a text of `length` targets, in order."""
    return (schedule.at(length, index) for index in range(schedule.count(length)))
