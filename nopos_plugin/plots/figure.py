"""Panels on one sheet, placed in inches so that no text lies on a line or on another text."""

import matplotlib.style
from matplotlib.figure import Figure

from nopos_plugin.plots.cell import LEFT, Cell
from nopos_plugin.plots.corner import GREY, LINE, Corner
from nopos_plugin.plots.panel import FONT, length

COLUMNS = 2
SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": FONT,
    "axes.linewidth": 0.7,
    "text.parse_math": False,
    "svg.hashsalt": "nopos-plot",  # or the same picture would be another file each time
}
STYLE = ["default", SETTINGS]  # whatever the user's matplotlibrc says


def figure(panels, note=""):
    """A Figure of {kind: panel}, and below them the note.

    Each text begins a row; a row has up to COLUMNS panels.
    """
    with matplotlib.style.context(STYLE):
        rows = arranged(panels)
        width = max(cell.width for row in rows for cell in row)
        below = 2 * LINE * bool(note)
        size = (
            max(width * max(map(len, rows)), length(note) + 2 * LEFT if note else 0),
            sum(row[0].height for row in rows) + below,
        )
        made = Figure(size, facecolor="white")
        sheet = made.add_axes((0, 0, 1, 1), zorder=2)
        sheet.set(xlim=(0, size[0]), ylim=(0, size[1]))
        sheet.axis("off")
        Corner(sheet, LEFT, LINE).write(0, 0, note, color=GREY, label="note")
        bottom = size[1]
        for row in rows:
            bottom -= row[0].height
            for column, cell in enumerate(row):
                cell.draw(sheet, column * width, bottom)
    return made


def arranged(panels):
    """Rows of cells; those of a row are of one height."""
    rows, source = [], None
    for kind, panel in panels.items():
        if kind.source() != source or len(rows[-1]) == COLUMNS:
            rows.append([])
        source = kind.source()
        rows[-1].append(panel)
    return [[Cell(panel, row) for panel in row] for row in rows]
