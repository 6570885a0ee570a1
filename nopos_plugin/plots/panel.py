"""A panel: lines in a frame, and above it, in rows, the numbers of what is beyond the frame."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from nopos_plugin.plots.styles import Style

WIDTH = 3.1  # inches of the frame
MARGIN = 0.06  # of the frame, left of the first point and right of the last
FONT = 8
GLYPH, RADIUS = 0.14, 0.05  # inches: a marker before its number, half a marker


class Curve(NamedTuple):
    """A line: points (x, y) by x; y is infinite or no number (NaN) where there is none.

    ranges: (x, lowest, highest) of what some points are the mean of.
    """

    name: str
    style: Style
    points: list[tuple[float, float]]
    ranges: tuple[tuple[float, float, float], ...] = ()


class Number(NamedTuple):
    """What stands above the frame, in the middle of `left` and `right` (inches)."""

    curve: Curve
    point: tuple[float, float]
    text: str
    left: float
    right: float
    row: int  # from the top


@dataclass(frozen=True)
class Panel:
    """frame: lowest and highest y; trained: training lengths; log_x, log_y: logarithmic axes.

    behind: curves of the same reach, drawn pale and without a name. shaded: from x to x.
    """

    title: str
    about: str
    x_label: str
    y_label: str
    curves: list[Curve]
    frame: tuple[float, float]
    ticks: list[int]
    trained: list[int] = field(default_factory=list)
    behind: list[Curve] = field(default_factory=list)
    shaded: tuple[float, float] | None = None
    log_x: bool = True
    log_y: bool = False

    @cached_property
    def reach(self):
        """Lowest and highest x."""
        scale, back = (math.log2, lambda x: 2**x) if self.log_x else (float, float)
        places = [x for curve in self.curves for x, _ in curve.points] + self.trained
        low, high = scale(min(places)), scale(max(places))
        margin = MARGIN * (high - low) / (1 - 2 * MARGIN) if high > low else 1
        return back(low - margin), back(high + margin)

    def across(self, x):
        """Where in the frame, in inches."""
        return WIDTH * share(x, self.reach, self.log_x)

    def up(self, y):
        """Where in the frame, as a share of its height."""
        return share(y, self.frame, self.log_y)

    def beyond(self, y):
        return not y <= self.frame[1]

    def numbers(self):
        """The Numbers of all points beyond the frame: of each line in rows of its own."""
        found, rows = [], 0
        for curve in self.curves:
            spans = []
            out = [point for point in curve.points if self.beyond(point[1])]
            for x, y in out:
                half = (GLYPH + length(number(y))) / 2
                spans.append((self.across(x) - half, self.across(x) + half))
            for point, span, row in zip(out, spans, stacked(spans), strict=True):
                found.append(Number(curve, point, number(point[1]), *span, rows + row))
            rows = max([rows, *(one.row + 1 for one in found)])
        return found

    def lengths(self):
        """(text, x, row) of the training lengths."""
        said = [(f"trained on {x}", x) for x in self.trained]
        spans = [(self.across(x) - length(t) / 2, self.across(x) + length(t) / 2) for t, x in said]
        return [(t, x, row) for (t, x), row in zip(said, stacked(spans), strict=True)]

    def labelled_ticks(self):
        """{x: label} of the ticks in the frame, empty without room; training lengths go first."""
        low, high = self.reach
        labels, kept = {x: "" for x in self.ticks if low < x < high}, []
        for x in sorted(labels, key=lambda x: x not in self.trained):
            half = length(f"{x}") / 2
            if all(abs(self.across(x) - place) > half + other for place, other in kept):
                kept.append((self.across(x), half))
                labels[x] = f"{x}"
        return labels


def share(value, ends, log):
    """Where it lies between the `ends`, 0 to 1, on a logarithmic axis or another."""
    low, high, place = (math.log(x) if log else x for x in (*ends, value))
    return (place - low) / (high - low)


def length(text, size=FONT, weight="normal"):
    """Inches that a text takes, and a gap after it."""
    font = FontProperties(family="DejaVu Sans", weight=weight)
    return TextPath((0, 0), text, size=size, prop=font).get_extents().width / 72 + 0.06


def stacked(spans):
    """The row of each (left, right): the first in which it overlaps none before it."""
    ends, rows = [], []
    for left, right in spans:
        row = next((row for row, end in enumerate(ends) if end <= left), len(ends))
        ends[row : row + 1] = [right]
        rows.append(row)
    return rows


def number(y):
    """With three digits, or whole, or as a power of ten."""
    if math.isnan(y):
        return "n/a"
    if math.isinf(y):
        return "∞"
    return (
        f"{y:.3g}"
        if y < 1000
        else f"{y:.0f}"
        if y < 1e5
        else f"{y:.1e}".replace("e+0", "e").replace("e+", "e")
    )
