"""Pictures as files: all of them, or none."""

import os

import matplotlib.style

from nopos_plugin.plots.figure import STYLE, figure
from nopos_plugin.plots.pictures import perplexity, position

PICTURES = {"perplexity": perplexity, "position": position}
# without dates and versions: the same results make the same files
FORMATS = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
DOTS = 200  # an inch, of the PNG


def draw(rows, prefix):
    """Write PREFIX-perplexity and PREFIX-position, as .png and .svg, over what is there.

    Returns the names of the files. Raises ValueError for rows that make no picture, OSError for
    files that cannot be written; what was there before is then still there.
    """
    folder = os.path.dirname(prefix)
    if folder and not os.path.isdir(folder):
        raise ValueError(f"{prefix}-perplexity.png: there is no folder {folder}")
    parts = {}  # where a picture is until all are drawn -> its name
    try:
        for name, picture in PICTURES.items():
            made = figure(*picture(rows))
            for ending, metadata in FORMATS.items():
                path = f"{prefix}-{name}.{ending}"
                part = f"{path}.{os.getpid()}"
                parts[part] = path
                with matplotlib.style.context(STYLE):
                    made.savefig(part, format=ending, dpi=DOTS, metadata=metadata)
        for part, path in parts.items():
            os.replace(part, path)
    finally:
        for part in parts:
            if os.path.isfile(part):
                os.remove(part)
    return list(parts.values())
