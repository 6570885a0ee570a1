"""Names beside a frame, in the order in which the lines end there."""

from nopos_plugin.plots.corner import GREY, LINE
from nopos_plugin.plots.panel import WIDTH, length

LEADER, SAMPLE, GAP = 0.24, 0.36, 0.07  # inches: to a sample of the line, its length, to its name


def width(curves):
    """Inches that they take."""
    return LEADER + SAMPLE + GAP + max(length(curve.name) for curve in curves)


def draw(corner, ends, top):
    """Names between 0 and `top`; ends: (x, y, curve), in inches.

    A thread leads from there to the name, but from no line that ends earlier than others, x None:
    it would cross them.
    """
    ends = sorted(ends, key=lambda end: end[1])
    places = spread([y for _, y, _ in ends], LINE, LINE / 2, top)
    for (x, y, curve), place in zip(ends, places, strict=True):
        begin = WIDTH + LEADER
        if x is not None:
            corner.plot([x, begin - 0.03], [y, place], color=GREY, linewidth=0.4, zorder=1)
        corner.plot([begin, begin + SAMPLE], [place] * 2, **curve.style.line())
        corner.plot([begin + SAMPLE / 2], [place], **curve.style.point())
        corner.write(begin + SAMPLE + GAP, place, curve.name, label="name")


def spread(wanted, gap, low, high):
    """Places as near as can be to the `wanted` ones (rising), `gap` apart, from `low` to `high`.

    Neighbours that are too near move as one block around the mean of what they want.
    """
    blocks = []  # [sum of what is wanted of the first of the block, how many]
    for number, place in enumerate(wanted):
        blocks.append([place - number * gap, 1])
        while len(blocks) > 1 and mean(blocks[-2]) >= mean(blocks[-1]):
            total, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += count
    firsts = [mean(block) for block in blocks for _ in range(block[1])]
    most = high - (len(wanted) - 1) * gap
    return [max(low, min(first, most)) + number * gap for number, first in enumerate(firsts)]


def mean(block):
    return block[0] / block[1]
