"""What encodings make of distance: a line a head, and of rotations a map of their planes."""

from dataclasses import dataclass
from typing import NamedTuple

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nopos_plugin.plots.corner import GREY, LINE, Corner
from nopos_plugin.plots.figure import STYLE
from nopos_plugin.plots.files import write
from nopos_plugin.plots.panel import FONT, length
from nopos_plugin.plots.styles import style

# {answer: (what is drawn, label of y)}
ANSWERS = {
    "bias": ("added to scores, of each head", "bias"),
    "rotation": ("score of a unit query and an equal key: mean, and by plane", "mean score"),
    "embedding": ("cosine of what is added at two positions, mean over pairs", "cosine"),
}
HEADS = 16  # lines of a panel
COLUMNS = 2
WIDTH, HEIGHT, MAP = 3.6, 2.6, 1.7  # inches of a frame, and of a map below it
LEFT, RIGHT, BOTTOM, GAP = 0.75, 0.2, 0.62, 0.12  # around the frames; between them
SAMPLE, INSIDE = 0.36, 0.12  # inches: a line beside its name, and from the frame to it
FLOOR = -8.0  # of a frame: a key with a lower bias weighs exp(-8) = 0.0003 of one without, or less
MARGIN = 0.04  # of the frame, above the highest value and below the lowest
COLUMN = 2 ** (1 / 24)  # of the map: how much farther its far edge is than its near one, or 1


class Answer(NamedTuple):
    """row: of nopos-show-bias; about: lines on where it is from; values: (N,), by distance.

    planes: (P, N), of which the values are the mean, or None.
    """

    row: dict
    about: list[str]
    values: np.ndarray
    planes: np.ndarray | None


class Line(NamedTuple):
    """values: (N,), by distance; mark: the distance of its marker, or None."""

    name: str
    values: np.ndarray
    mark: int | None


@dataclass(frozen=True)
class Panel:
    """x is the distance, logarithmic from 1 on.

    about: lines below the title. heading: of the names of the lines. level: where a dashed line is.
    planes: (P, N), of a map. trained: a length that is marked.
    """

    title: str
    about: list[str]
    x_label: str
    y_label: str
    lines: list[Line]
    heading: str
    level: float | None
    planes: np.ndarray | None
    trained: int | None


def draw(answers, level, prefix):
    """Write PREFIX.png and PREFIX.svg, both or none; returns their names.

    level: the bias that effective lengths go by.

    Raises ValueError if there is no such folder, OSError if they cannot be written.
    """
    return write({"": figure(panels(answers, level))}, prefix)


def panels(answers, level):
    """[Panel] of the answers: up to HEADS biases of an encoding in one, others by themselves."""
    together = {}
    for answer in answers:
        row, head = answer.row, answer.row["head"] or 0
        place = head // HEADS if row["answer"] == "bias" else head
        key = row["position_encoding"], row["checkpoint"], row["answer"], str(row["layers"]), place
        together.setdefault(key, []).append(answer)
    return [panel(some, level) for some in together.values()]


def panel(answers, level):
    """With a line for each of the answers."""
    row, about, _, planes = answers[0]
    about_it, y_label = ANSWERS[row["answer"]]
    bias = row["answer"] == "bias"
    title = f"{row['position_encoding']}: {row['answer']}"
    if row["layers"] is not None:
        title += f", layer{'s' * (len(row['layers']) > 1)} {', '.join(map(str, row['layers']))}"
    return Panel(
        title=title,
        about=[about_it, *about],
        x_label=f"distance ({row['unit']})",
        y_label=y_label,
        lines=[Line(name(one.row), one.values, one.row["effective_length"]) for one in answers],
        heading=f"below {level:g} from" * bias,
        level=level if bias else None,
        planes=planes,
        trained=row["trained_tokens"] if row["unit"] == "tokens" else None,
    )


def name(row):
    """Of its line, empty for one that is alone."""
    if row["head"] is None:
        return ""
    if row["answer"] != "bias":
        return f"head {row['head']}"
    length = row["effective_length"]
    return f"head {row['head']}: " + ("nowhere" if length is None else f"{length:,}")


def figure(panels):
    """A Figure of the panels, COLUMNS in a row."""
    with matplotlib.style.context(STYLE):
        cells = [Cell(panel) for panel in panels]
        rows = [cells[i : i + COLUMNS] for i in range(0, len(cells), COLUMNS)]
        width = max(cell.width for cell in cells)
        heights = [max(cell.height for cell in row) for row in rows]
        size = width * len(rows[0]), sum(heights)
        made = Figure(size, facecolor="white")
        sheet = made.add_axes((0, 0, 1, 1), zorder=2)
        sheet.set(xlim=(0, size[0]), ylim=(0, size[1]))
        sheet.axis("off")
        top = size[1]
        for row, height in zip(rows, heights, strict=True):
            for column, cell in enumerate(row):
                cell.draw(Corner(sheet, column * width + LEFT, top - cell.height + BOTTOM))
            top -= height
    return made


class Cell:
    """Where all of a panel goes, in inches."""

    def __init__(self, panel):
        self.panel = panel
        self.names = [line.name for line in panel.lines if line.name]
        self.below = 0 if panel.planes is None else MAP + GAP
        self.frame = max(HEIGHT - self.below / 2, LINE * (len(self.names) + bool(panel.heading)))
        self.top = self.below + self.frame
        self.height = BOTTOM + self.top + LINE * (len(panel.about) + 2.5)
        beside = max((SAMPLE + length(name) for name in self.names), default=0)
        beside = max(beside, length(panel.heading) if panel.heading else 0, 0.5 * bool(self.below))
        title = length(panel.title, size=FONT + 1, weight="bold")
        text = max(title, *map(length, panel.about))
        self.width = LEFT + max(WIDTH + INSIDE + beside, text) + RIGHT

    def draw(self, corner):
        """With the lower left of the frames at `corner`."""
        panel, self.corner = self.panel, corner
        above = self.top + LINE * (len(panel.about) + 1)
        corner.write(0, above, panel.title, size=FONT + 1, weight="bold", label="title")
        for number, text in enumerate(panel.about):
            corner.write(0, above - LINE * (number + 1), text, color=GREY, label="about")
        axes = self.axes(self.below, self.frame, panel.y_label, labelled=not self.below)
        if self.below:
            self.draw_map(self.axes(0, MAP, "plane (0: the fastest)", labelled=True))
        corner.write(WIDTH / 2, 0.14 - BOTTOM, panel.x_label, ha="center", label="x")
        self.draw_lines(axes)
        if panel.trained is not None and panel.trained < self.count:
            axes.axvline(panel.trained, color=GREY, linewidth=1, dashes=(6, 4), zorder=1)
            x = axes.transData.transform((panel.trained, 0))[0] / axes.figure.dpi - corner.x
            said = f"trained on {panel.trained}"
            corner.write(x, -0.32, said, ha="center", color=GREY, label="trained")

    @property
    def count(self):
        return len(self.panel.lines[0].values)

    def axes(self, bottom, height, y_label, labelled):
        """A frame over all distances; `labelled`: with numbers below it."""
        corner = self.corner._replace(y=self.corner.y + bottom)
        axes = corner.sheet.figure.add_axes(corner.box(WIDTH, height), axisbelow=True)
        axes.set_xscale("symlog", base=2, linthresh=1)
        ticks = [0, *(2**n for n in range(32) if 2**n < self.count)]
        shown = [tick for n, tick in enumerate(ticks) if n == 0 or n % 2]  # 0, 1, 4, 16, ...
        axes.set_xticks(ticks, [f"{x}" * (labelled and x in shown) for x in ticks])
        axes.minorticks_off()
        axes.set_xlim(0, max(1, self.count - 1))
        corner.write(-0.58, height / 2, y_label, ha="center", va="center", rotation=90, label="y")
        return axes

    def draw_lines(self, axes):
        panel = self.panel
        axes.set_ylim(*frame(panel))
        axes.grid(axis="y", color="#dddddd", linewidth=0.5)
        if panel.level is not None:
            axes.axhline(panel.level, color="black", linewidth=1, dashes=(2, 2), label="level")
        for number, line in enumerate(panel.lines):
            look = style(number)
            axes.plot(line.values, **look.line(), label=f"line of {line.name}")
            for x in marked(line, axes.get_ylim()[0]) if line.name else ():
                place = [x], [line.values[x]]
                axes.plot(*place, **look.point(), clip_on=False, label=f"mark of {line.name}")
        place = WIDTH + INSIDE, self.top - LINE / 2
        if panel.heading:
            self.corner.write(*place, panel.heading, color=GREY, label="heading")
        for number, name in enumerate(self.names):
            look, y = style(number), place[1] - LINE * (number + bool(panel.heading))
            self.corner.plot([place[0], place[0] + SAMPLE - 0.06], [y, y], **look.line())
            self.corner.plot([place[0] + SAMPLE / 2 - 0.03], [y], **look.point())
            self.corner.write(place[0] + SAMPLE, y, name, label="name")

    def draw_map(self, axes):
        """The mean of each column's distances, and what the colours are."""
        planes = self.panel.planes
        edges = columns(self.count)
        means = np.add.reduceat(planes, edges[:-1], axis=1) / np.diff(edges)
        most = max(1.0, float(np.abs(planes).max()))
        # a distance is in the middle of its column
        sides = np.concatenate([[0], edges[1:-1] - 0.5, [self.count - 1]])
        drawn = axes.pcolormesh(
            sides,
            np.arange(len(planes) + 1) - 0.5,
            means,
            cmap="cividis",
            vmin=-most,
            vmax=most,
            rasterized=True,
        )
        axes.invert_yaxis()
        axes.yaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        bar = self.corner.sheet.figure.add_axes(
            self.corner._replace(x=self.corner.x + WIDTH + INSIDE).box(0.12, MAP)
        )
        axes.figure.colorbar(drawn, cax=bar, ticks=[-most, 0, most], format="{x:.3g}")


def frame(panel):
    """Lowest and highest y: what is finite of the lines, no lower than FLOOR, and the level."""
    values = np.concatenate([line.values for line in panel.lines])
    if panel.level is not None:
        values = np.append(values.clip(min=FLOOR), panel.level)
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    margin = MARGIN * (high - low) or 0.1
    return low - margin, high + margin


def marked(line, low):
    """[distance] of its marker; where that is not in the frame, of the last that is, but not 0."""
    inside = np.flatnonzero(line.values >= low)
    if line.mark in inside:
        return [line.mark]
    return [last for last in inside[-1:] if last]


def columns(count):
    """Where the map's columns begin, of distances below `count`, and `count`: of COLUMN, or 1."""
    edges = [0]
    while edges[-1] < count:
        edges.append(min(count, max(edges[-1] + 1, round(edges[-1] * COLUMN))))
    return np.array(edges)
