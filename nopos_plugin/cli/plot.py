"""nopos-plot: pictures of results."""

import argparse
import logging
import os
import sys

from nopos_plugin.evaluation import results


def parser():
    made = argparse.ArgumentParser(
        prog="nopos-plot",
        description="Draw what nopos-evaluate found: perplexity against the length of the windows "
        "(PREFIX-perplexity), and loss against the position in the longest ones (PREFIX-position); "
        "what nopos-passkey found, by length and depth of the key (PREFIX-depth); the errors of "
        "nopos-probe by layer (PREFIX-probe); of nopos-shuffle the loss by length of the prefix "
        "(PREFIX-shuffle) and by eighth of the window (PREFIX-segments); and the accuracy of "
        "nopos-evaluate-answers by length (PREFIX-answers); and of nopos-attention how far apart "
        "models attend (PREFIX-divergence), and how far back, by layer and how often "
        "(PREFIX-attended): each as PNG and SVG. Results that do not compare are on panels of "
        "their own; what is beyond a frame is written above it.",
    )
    made.add_argument("results", nargs="+", metavar="FILE", help="of any of them, lines of JSON")
    made.add_argument(
        "--output",
        metavar="PREFIX",
        help="what the names of the pictures begin with (default: the first FILE, without .jsonl)",
    )
    made.add_argument(
        "--over-seeds",
        action="store_true",
        help="perplexities, answers and attention of trainings that differ in their seed alone are "
        "one line, their mean, with bars from the lowest to the highest (attention: without)",
    )
    return made


def main(arguments=None):
    """The exit status: 0 if the pictures are there, else 1. (argparse exits with 2.)"""
    options = parser().parse_args(arguments)
    prefix = options.output or options.results[0].removesuffix(".jsonl")
    # fairseq has all loggers heard, and matplotlib says much, from its import on
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    from nopos_plugin import plots

    try:
        rows = []
        for path in options.results:
            if not os.path.exists(path):
                raise ValueError(f"{path} does not exist")
            rows += plots.checked(results.read(path, *results.KINDS), path)
        if options.over_seeds:
            rows = plots.over_seeds(rows)
        print("\n".join(plots.draw(rows, prefix)))
    except (ValueError, OSError) as error:
        print(f"nopos-plot: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
