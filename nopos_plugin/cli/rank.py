"""nopos-rank: encodings by how they answer beyond the lengths that they were trained on."""

import argparse
import os
import sys

from nopos_plugin.cli import arguments, preparing
from nopos_plugin.evaluation import results
from nopos_plugin.evaluation.markdown import table
from nopos_plugin.evaluation.ranks import Run, cell, mean_reciprocal_ranks
from nopos_plugin.evaluation.results import ANSWERS

COMMAND = "nopos-rank"


def parser():
    made = argparse.ArgumentParser(
        prog=COMMAND,
        description="Tables of what nopos-evaluate-answers found: for each task and encoding the "
        "right answers at lengths beyond training, in percent, mean and deviation over seeds; and "
        "the mean reciprocal rank of each encoding over tasks and seeds, equals sharing their mean "
        "rank. A training that has not learned its task at the lengths that it saw is said to, and "
        "is in no rank.",
    )
    made.add_argument("results", nargs="+", metavar="FILE", help="lines of JSON")
    made.add_argument(
        "--learned",
        type=arguments.part,
        default=0.95,
        metavar="X",
        help="the least share of right answers at trained lengths (default: 0.95)",
    )
    return made


def main(typed=None):
    """The exit status: 0 if the tables are printed, else 1. (argparse exits with 2.)"""
    options = parser().parse_args(typed)
    return preparing.run(COMMAND, lambda: rank(options))


def rank(options):
    """Print the tables. Raises ValueError for files without usable results."""
    rows = []
    for path in options.results:
        if not os.path.exists(path):
            raise ValueError(f"{path} does not exist")
        rows += [(path, row) for row in results.read(path, ANSWERS)]
    if not rows:
        raise ValueError(f"{', '.join(options.results)}: no results of {ANSWERS.command}")
    print(report(runs(rows), options.learned))


def runs(rows):
    """The Runs of (path, result)s, the same result counted once.

    Raises ValueError for one that is not whole, and for two that differ in what a Run does not say.
    """
    found, sources = {}, {}
    for path, row in rows:
        try:
            made, same = run(row), [row.get(name) for name in ANSWERS.same]
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: a result is not whole ({error!r})") from None
        key = made.encoding, made.task, made.seed
        found[key] = made
        known, checkpoint = sources.setdefault(key, (same, row["checkpoint"]))
        if known != same:
            raise ValueError(
                f"{path}: {checkpoint} and {row['checkpoint']} are alike in encoding, task and "
                f"seed ({', '.join(map(str, key))}), and not in all: rank one of them"
            )
    return list(found.values())


def run(row):
    """The Run of a result."""
    accuracy = row["accuracy"]
    return Run(
        row["position_encoding"] or "stock",
        named(row["problem"]),
        row["trained_seed"],
        accuracy["valid"],
        accuracy["test"],
    )


def named(problem):
    """A task for people: its name, variant and scratchpad."""
    words = [problem["task"]]
    words += [problem["variant"]] * (problem["variant"] != "plain")
    words += [f"scratchpad {problem['scratchpad']}"] * bool(problem["scratchpad"])
    return " ".join(words)


def report(runs, least):
    """Markdown: a row for each encoding, best first; a column for each task."""
    ranks = mean_reciprocal_ranks(runs, least)
    tasks = list(dict.fromkeys(run.task for run in runs))
    encodings = sorted(
        dict.fromkeys(run.encoding for run in runs), key=lambda name: -ranks.get(name, (0,))[0]
    )
    rows = [["right beyond training (%)", *tasks, "mean reciprocal rank"]]
    for name in encodings:
        cells = (
            cell([run for run in runs if (run.encoding, run.task) == (name, task)], least)
            for task in tasks
        )
        found, spread = ranks.get(name, (None, None))
        said = "-" if found is None else f"{found:.3f}"
        rows.append([name, *cells, said if spread is None else f"{said} ± {spread:.3f}"])
    return table(rows)


if __name__ == "__main__":
    sys.exit(main())
