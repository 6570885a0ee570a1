"""One panel as it is drawn: a frame, numbers above it, names beside it, lengths below it."""

import math

from matplotlib.ticker import MaxNLocator

from nopos_plugin.plots import beside
from nopos_plugin.plots.corner import GREY, LINE, Corner
from nopos_plugin.plots.panel import GLYPH, RADIUS, WIDTH, length

HEIGHT = 3.3  # inches of a frame, at least
LEFT, RIGHT, TOP, BOTTOM = 0.75, 0.2, 0.62, 0.5  # around the frame, besides lines of text
EDGE = 0.14  # from the frame to the numbers above it
STEPS = (1, 2, 5, 10)


class Cell:
    """Where all of `panel` goes, in inches; as high as the highest of its `row`."""

    def __init__(self, panel, row):
        self.panel, self.numbers, self.lengths = panel, panel.numbers(), panel.lengths()
        above = LINE * max(lines(other.numbers()) for other in row)
        below = LINE * max(lines(other.lengths()) for other in row) + BOTTOM
        self.frame = max(HEIGHT, LINE * max(len(other.curves) for other in row) - above)
        self.below, self.top = below, self.frame + EDGE + above
        self.height = self.below + self.top + TOP
        self.about = panel.about + bool(self.numbers) * "   (▲ beyond the frame, numbers above)"
        titles = max(length(panel.title, size=9, weight="bold"), length(self.about)) - WIDTH
        self.width = LEFT + WIDTH + max(beside.width(panel.curves), titles) + RIGHT

    def draw(self, sheet, left, bottom):
        """On `sheet`, axes that are the whole figure in inches, from this corner on."""
        self.corner = Corner(sheet, left + LEFT, bottom + self.below)
        axes = self.framed()
        if self.panel.shaded:
            axes.axvspan(*self.panel.shaded, color="#eeeeee", zorder=0, label="shaded")
        for curve in self.panel.behind:
            pale = {"color": curve.style.color, "linewidth": 0.8, "alpha": 0.35, "zorder": 1}
            axes.plot(*zip(*curve.points, strict=True), **pale, label="behind")
        for curve in self.panel.curves:
            self.draw_curve(axes, curve)
        for text, x, row in self.lengths:
            axes.axvline(x, color=GREY, linewidth=1, dashes=(6, 4), zorder=1, label="trained")
            place = self.panel.across(x), -0.32 - row * LINE
            self.corner.write(*place, text, ha="center", color=GREY, label="trained")
        self.draw_numbers()
        beside.draw(self.corner, list(map(self.end, self.panel.curves)), self.top)

    def framed(self):
        """Axes with all around the results."""
        panel, corner = self.panel, self.corner
        axes = corner.sheet.figure.add_axes(corner.box(WIDTH, self.frame), axisbelow=True)
        if panel.log_x:
            axes.set_xscale("log", base=2)
        axes.set_yscale("log" if panel.log_y else "linear")
        ticks = panel.labelled_ticks()
        axes.set_xticks(list(ticks), ticks.values())
        low, high = panel.frame
        ticks = [y for y in MaxNLocator(10, steps=STEPS).tick_values(low, high) if low <= y <= high]
        axes.set_yticks(ticks, [f"{y:g}" for y in ticks])
        axes.minorticks_off()
        axes.set(xlim=panel.reach, ylim=panel.frame)
        axes.grid(axis="y", color="#dddddd", linewidth=0.5)
        corner.write(-0.58, self.frame / 2, panel.y_label, ha="center", va="center", rotation=90)
        corner.write(WIDTH / 2, 0.14 - self.below, panel.x_label, ha="center")
        corner.write(0, self.top + 0.34, panel.title, size=9, weight="bold")
        corner.write(0, self.top + 0.16, self.about, color=GREY)
        return axes

    def draw_curve(self, axes, curve):
        """The line, up to the edge of the frame, and its points inside."""
        top, xs, ys = self.panel.frame[1], [], []
        for (x, y), (_, after) in zip(curve.points, [*curve.points[1:], (0, 0)], strict=True):
            beyond = self.panel.beyond(y)
            xs.append(x)
            ys.append(top if y > top else y)
            if beyond and self.panel.beyond(after):
                xs.append(x)  # no line along the edge
                ys.append(math.nan)
        axes.plot(xs, ys, **curve.style.line(), label=f"line of {curve.name}")
        for x, low, high in curve.ranges:
            if low <= top:  # an end beyond the frame has no cap
                bar = {"color": curve.style.color, "linewidth": 1, "marker": "_", "markersize": 5}
                caps = [0] if high > top else [0, 1]
                ends, name = [low, min(high, top)], f"range of {curve.name}"
                axes.plot([x, x], ends, **bar, markevery=caps, label=name)
        inside = [point for point in curve.points if not self.panel.beyond(point[1])]
        xs, ys = [x for x, _ in inside], [y for _, y in inside]
        axes.plot(xs, ys, **curve.style.point(), label=f"points of {curve.name}")

    def draw_numbers(self):
        """Triangles at the edge where lines leave the frame, and above it what is beyond."""
        for one in self.numbers:
            x, y = self.panel.across(one.point[0]), self.above(one.row)
            self.corner.plot([x], [self.frame + 0.05], marker="^", markersize=6, color="black")
            self.corner.plot([one.left + GLYPH / 3], [y], **one.curve.style.point())
            name = f"beyond of {one.curve.name}"
            self.corner.write(one.left + GLYPH, y, one.text, label=name)

    def above(self, row):
        """The middle of a row of numbers; the first row is the highest."""
        return self.top - (row + 0.5) * LINE

    def end(self, curve):
        """(x, y, curve) where its line ends: in the frame, or beside its numbers above."""
        x, y = curve.points[-1]
        thread = x == max(other.points[-1][0] for other in self.panel.curves)
        begin, height = self.panel.across(x) + RADIUS, self.panel.up(y) * self.frame
        if self.panel.beyond(y):
            last = [one for one in self.numbers if one.curve is curve][-1]
            begin, height = last.right, self.above(last.row)
        return begin if thread else None, height, curve


def lines(texts):
    """How many rows they take."""
    return max((one[-1] + 1 for one in texts), default=0)
