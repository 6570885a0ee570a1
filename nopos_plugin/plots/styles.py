"""How lines look: told apart without colour, by their marker and their dashes."""

from typing import NamedTuple

# Okabe and Ito (2008), for all kinds of colour vision; without the yellow, too faint on white.
COLORS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9")
# shape, and is it filled? (The triangle that points up is for what leaves the frame.)
MARKERS = (
    ("o", True),
    ("s", False),
    ("D", True),
    ("v", False),
    ("X", True),
    ("o", False),
    ("s", True),
    ("D", False),
    ("v", True),
    ("P", False),
    ("*", True),
)
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
MOST = len(MARKERS) * len(DASHES)  # their numbers have no common divisor: so many pairs


class Style(NamedTuple):
    color: str
    marker: str
    filled: bool
    dashes: object

    def line(self):
        """Arguments of matplotlib's plot for the line."""
        return {"color": self.color, "linestyle": self.dashes, "linewidth": 1.3}

    def point(self):
        """Arguments of matplotlib's plot for the markers."""
        return {
            "linestyle": "none",
            "zorder": 3 if self.filled else 4,  # so that what is below can be seen
            "marker": self.marker,
            "markersize": 7 if self.marker == "*" else 5,
            "markeredgewidth": 1,
            "markeredgecolor": self.color,
            "markerfacecolor": self.color if self.filled else "none",
        }


def style(index):
    """Of the line `index` of a picture, 0 to MOST - 1."""
    shape, filled = MARKERS[index % len(MARKERS)]
    return Style(COLORS[index % len(COLORS)], shape, filled, DASHES[index % len(DASHES)])


def styles(lines):
    """{line: style}; ValueError for more lines than a reader could tell apart."""
    if len(lines) > MOST:
        raise ValueError(
            f"{len(lines)} lines: only {MOST} can be told apart; draw fewer results at a time"
        )
    return {line: style(index) for index, line in enumerate(lines)}
