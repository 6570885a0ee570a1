"""Which encoding generalizes best over tasks: ranks of accuracies, ties shared."""

from statistics import mean, stdev
from typing import NamedTuple


class Run(NamedTuple):
    """A training that was asked. learned, beyond: shares of right answers at trained lengths, and
    at longer ones."""

    encoding: str
    task: str
    seed: int
    learned: float
    beyond: float


def reciprocal_ranks(values):
    """{name: 1 / rank}, of {name: value}, the largest first; equals share their mean rank.

    DIFFERS from McGill-NLP/length-generalization@40f8a44, where the order of rows breaks ties.
    """
    return {
        name: 1
        / (
            sum(other > value for other in values.values())
            + (1 + sum(other == value for other in values.values())) / 2
        )
        for name, value in values.items()
    }


def ranks_by_seed(runs, least):
    """{encoding: {seed: reciprocal ranks, one of each task}}, ranked by `beyond`.

    Runs with `learned` below `least` are left out, and so are tasks of a seed where fewer than two
    are left.
    """
    groups: dict[tuple[int, str], dict[str, float]] = {}
    for run in runs:
        if run.learned >= least:
            groups.setdefault((run.seed, run.task), {})[run.encoding] = run.beyond
    found: dict[str, dict[int, list[float]]] = {}
    for (seed, _), values in groups.items():
        if len(values) > 1:
            for encoding, value in reciprocal_ranks(values).items():
                found.setdefault(encoding, {}).setdefault(seed, []).append(value)
    return found


def mean_reciprocal_ranks(runs, least):
    """{encoding: (mean over tasks and seeds, deviation over seeds of the mean over tasks)}.

    As of `ranks_by_seed`. Deviation: None of one seed.
    """
    return {
        encoding: (
            mean(value for some in seeds.values() for value in some),
            stdev(map(mean, seeds.values())) if len(seeds) > 1 else None,
        )
        for encoding, seeds in ranks_by_seed(runs, least).items()
    }


def cell(runs, least):
    """The runs of one encoding and task for people: percent beyond, its deviation over seeds."""
    learned = [100 * run.beyond for run in runs if run.learned >= least]
    if not runs:
        return ""
    if not learned:
        return "not learned"
    said = f"{mean(learned):.1f}"
    if len(learned) > 1:
        said += f" ± {stdev(learned):.1f}"
    return said + f" ({len(learned)} of {len(runs)} seeds)" * (len(learned) < len(runs))
