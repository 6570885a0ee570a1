"""Pictures as files: all that the results make, or none."""

import os

import matplotlib.style

from nopos_plugin.plots.analyses import probe, segments, shuffle
from nopos_plugin.plots.answers import answers
from nopos_plugin.plots.attention import attended, compared, divergence
from nopos_plugin.plots.figure import STYLE, figure
from nopos_plugin.plots.heat import depth
from nopos_plugin.plots.pictures import perplexity, position
from nopos_plugin.plots.rows import ANSWERS, ATTENTION, KINDS, PASSKEY, PERPLEXITY, PROBE, SHUFFLE

# {name: (of what results, rows -> Figure, or None if they have nothing to draw)}
PICTURES = {
    "perplexity": (PERPLEXITY, lambda rows: figure(*perplexity(rows))),
    "position": (PERPLEXITY, lambda rows: figure(*position(rows))),
    "depth": (PASSKEY, depth),
    "probe": (PROBE, lambda rows: figure(*probe(rows))),
    "shuffle": (SHUFFLE, lambda rows: figure(*shuffle(rows))),
    "answers": (ANSWERS, lambda rows: figure(*answers(rows))),
    "divergence": (ATTENTION, lambda rows: compared(rows) and figure(*divergence(compared(rows)))),
    "attended": (ATTENTION, lambda rows: figure(*attended(rows))),
    "segments": (SHUFFLE, lambda rows: figure(*segments(rows))),
}
# without dates and versions: the same results make the same files
FORMATS = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
DOTS = 200  # an inch, of the PNG


def draw(rows, prefix):
    """Write those of PICTURES that there are results of, PREFIX-NAME.png and .svg.

    As `write`; raises ValueError for rows that make no picture, too.
    """
    made = {}
    for name, (kind, picture) in PICTURES.items():
        members = [row for row in rows if KINDS[row["result"]] is kind]
        if members and (drawn := picture(members)):
            made[f"-{name}"] = drawn
    return write(made, prefix)


def write(figures, prefix):
    """Write {NAME: Figure} as PREFIXNAME.png and .svg, over what is there: all of them, or none.

    Returns the names of the files. Raises ValueError if there is no such folder, OSError for files
    that cannot be written; what was there before is then still there.
    """
    folder = os.path.dirname(prefix)
    if folder and not os.path.isdir(folder):
        raise ValueError(f"--output {prefix}: there is no folder {folder}")
    parts = {}  # where a picture is until all are drawn -> its name
    try:
        for name, made in figures.items():
            for ending, metadata in FORMATS.items():
                path = f"{prefix}{name}.{ending}"
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
