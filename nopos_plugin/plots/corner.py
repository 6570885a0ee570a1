"""A place on the sheet: the lower left corner of a frame, from which all is measured in inches."""

from typing import NamedTuple

from matplotlib.axes import Axes

LINE = 0.16  # from one line of text to the next
GREY = "#606060"


class Corner(NamedTuple):
    """sheet: axes that are the whole figure, in inches."""

    sheet: Axes
    x: float
    y: float

    def write(self, x, y, text, **kwargs):
        """Text that begins at x, unless `ha` says otherwise, its middle at y."""
        self.sheet.text(self.x + x, self.y + y, text, **{"va": "center_baseline", **kwargs})

    def plot(self, xs, ys, **kwargs):
        self.sheet.plot([self.x + x for x in xs], [self.y + y for y in ys], **kwargs)

    def box(self, width, height):
        """What matplotlib calls the rectangle of axes of this size: shares of the figure."""
        whole, high = self.sheet.figure.get_size_inches()
        return self.x / whole, self.y / high, width / whole, height / high
