"""Passkeys found, as a map for each line: lengths from left to right, depths from top to bottom."""

import matplotlib.style
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from nopos_plugin.plots import names
from nopos_plugin.plots.corner import GREY, LINE, Corner
from nopos_plugin.plots.figure import STYLE
from nopos_plugin.plots.panel import FONT, length

COLUMNS = 2
WIDTH, HEIGHT = 0.5, 0.24  # inches of a cell
LEFT, RIGHT, TOP, BOTTOM = 1.1, 0.25, 0.6, 0.42  # around the cells
GAP = 0.06  # below the row of all depths
COLORS = LinearSegmentedColormap.from_list("found", ["#ffffff", "#9ecae1", "#08306b"])
ALL = "all depths"


class Map:
    """What the results of one line make: {(row, length): (correct, trials)}, and its name."""

    def __init__(self, name, rows):
        self.name, self.found, self.tokens = name, {}, {}
        self.trained = rows[0].get("trained_tokens")
        for row in rows:
            size = row["length_tokens"]
            self.tokens[size] = (row.get("prompt_tokens") or {}).get("most", size)
            for one in row["by_depth"]:
                for place in (ALL, (one["from"], one["to"])):
                    self.add((place, row["length_tokens"]), one["correct"], one["trials"])
        self.lengths = sorted({size for _, size in self.found})
        parts = round(1 / min(one["to"] - one["from"] for row in rows for one in row["by_depth"]))
        self.depths = [(place / parts, (place + 1) / parts) for place in range(parts)]

    def add(self, key, correct, trials):
        """Of results of one length and other draws the trials are added up."""
        before = self.found.get(key, (0, 0))
        self.found[key] = before[0] + correct, before[1] + trials

    def size(self):
        """(width, height) in inches, all around the cells included."""
        wide = max(LEFT + WIDTH * len(self.lengths), length(self.name, size=9, weight="bold") + 0.1)
        return wide + RIGHT, TOP + HEIGHT * (1 + len(self.depths)) + GAP + BOTTOM

    def draw(self, sheet, left, top):
        """On `sheet`, axes that are the whole figure in inches, below and right of this corner."""
        corner = Corner(sheet, left + LEFT, top - TOP)
        corner.write(0.1 - LEFT, 0.36, self.name, size=9, weight="bold", label="name")
        corner.write(-0.08, 0.14, "length", ha="right", color=GREY)
        places = {ALL: -HEIGHT}
        for number, depth in enumerate(self.depths):
            places[depth] = -(number + 2) * HEIGHT - GAP
        for column, size in enumerate(self.lengths):
            corner.write((column + 0.5) * WIDTH, 0.14, f"{size}", ha="center", label="length")
        for place, y in places.items():
            said = place if place == ALL else f"at {place[0]:.0%} to {place[1]:.0%}"
            corner.write(-0.08, y + HEIGHT / 2, said, ha="right", color=GREY, label="depth")
            for column, size in enumerate(self.lengths):
                if (place, size) in self.found:
                    self.cell(corner, column * WIDTH, y, *self.found[place, size])
        self.mark(corner, min(places.values()))

    def cell(self, corner, x, y, correct, trials):
        """Its colour, and percents in it."""
        share = correct / trials
        corner.sheet.bar(
            corner.x + x,
            HEIGHT,
            WIDTH,
            corner.y + y,
            align="edge",
            color=COLORS(share),
            edgecolor="#cccccc",
            linewidth=0.7,
        )
        ink = "white" if share > 0.6 else "black"
        corner.write(
            x + WIDTH / 2, y + HEIGHT / 2, f"{share:.0%}", ha="center", color=ink, label="found"
        )

    def mark(self, corner, bottom):
        """A line where lengths begin that are beyond training, and what it is."""
        if not self.trained:
            return
        inside = sum(self.tokens[size] <= self.trained for size in self.lengths)
        x = inside * WIDTH
        corner.plot([x, x], [0.06, bottom - 0.06], color=GREY, linewidth=1, dashes=(4, 3))
        said = f"trained on {self.trained}"
        corner.write(0, bottom - 0.18, said, color=GREY, label="trained")


def depth(rows):
    """A Figure: a map for each checkpoint and its options, in the order of `rows`."""
    lines = names.lines(rows)
    maps = [Map(name, [r for r in rows if names.line(r) == line]) for line, name in lines.items()]
    sizes = [one.size() for one in maps]
    wide, high = (max(size[i] for size in sizes) for i in range(2))
    columns = min(COLUMNS, len(maps))
    size = wide * columns, high * -(-len(maps) // columns) + 2 * LINE
    with matplotlib.style.context(STYLE):
        made = Figure(size, facecolor="white")
        sheet = made.add_axes((0, 0, 1, 1))
        sheet.axis("off")
        for number, one in enumerate(maps):
            row, column = divmod(number, columns)
            one.draw(sheet, column * wide, size[1] - row * high)
        note = "Keys found, of all that were told in this part of the prompt."
        Corner(sheet, 0.1, LINE).write(0, 0, note, color=GREY, size=FONT, label="note")
        sheet.set(xlim=(0, size[0]), ylim=(0, size[1]))
    return made
