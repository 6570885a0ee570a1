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
        "the mean reciprocal rank of each encoding over tasks, a mean over seeds, equals sharing "
        "their mean rank. Its deviation is over seeds, of the tasks that have all of them. A "
        "training that has not learned its task at the lengths that it saw is said to, and is in "
        "no rank: that of its encoding says of how many tasks it is.",
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

    Raises ValueError for one that is not whole, for two that differ in what a Run does not say, and
    for two of a task and seed, so that they are ranked, that were not asked the same.
    """
    found, sources, questions = {}, {}, {}
    for path, row in rows:
        try:
            made, same = run(row), [row.get(name) for name in ANSWERS.same]
            checkpoint, asked = row["checkpoint"], (row["data_sha256"], row["samples"])
            key = made.encoding, made.task, made.seed
            found[key] = made
            known, first = sources.setdefault(key, (same, checkpoint))
            others, other = questions.setdefault((made.task, made.seed), (asked, checkpoint))
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: a result is not whole ({error!r})") from None
        if known != same:
            raise ValueError(
                f"{path}: {first} and {checkpoint} are alike in encoding, task and "
                f"seed ({', '.join(map(str, key))}), and not in all: rank one of them"
            )
        if others != asked:
            raise ValueError(
                f"{path}: {other} and {checkpoint} are of the same task and seed ({made.task}, "
                f"{made.seed}), and were asked other questions: rank one of them"
            )
    return list(found.values())


def run(row):
    """The Run of a result. Raises KeyError for what is not there, TypeError for what is no such
    thing."""
    shares = [row["accuracy"][split] for split in ("valid", "test")]
    if not all(isinstance(share, (int, float)) and 0 <= share <= 1 for share in shares):
        raise TypeError(f"accuracy {row['accuracy']}")
    if not isinstance(row["trained_seed"], int):
        raise TypeError(f"trained_seed {row['trained_seed']}")
    encoding = row["position_encoding"] or "stock"
    return Run(encoding, named(row["problem"]), row["trained_seed"], *shares)


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
        dict.fromkeys(run.encoding for run in runs),
        key=lambda name: -ranks[name].mean if name in ranks else 0,
    )
    rows = [["right beyond training (%)", *tasks, "mean reciprocal rank"]]
    for name in encodings:
        its = [run for run in runs if run.encoding == name]
        cells = [cell([run for run in its if run.task == task], least) for task in tasks]
        rows.append([name, *cells, over_tasks(ranks.get(name), len(tasks))])
    return table(rows)


def over_tasks(rank, tasks):
    """A Rank for people: of how many `tasks` it is, and its deviation, unless of all."""
    if rank is None:
        return "-"
    said = f"{rank.mean:.3f}" + f" ({rank.tasks} of {tasks} tasks)" * (rank.tasks < tasks)
    if rank.deviation is None:
        return said
    part = f" (of {rank.repeated})" * (rank.repeated < rank.tasks)
    return f"{said} ± {rank.deviation:.3f}{part}"


if __name__ == "__main__":
    sys.exit(main())
