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


def reciprocal_ranks_by_task(runs, least):
    """{encoding: {task: {seed: 1 / rank}}}, by `beyond` among the runs of a task and seed.

    Runs with `learned` below `least` are left out, and so are tasks of a seed where fewer than two
    are left. There is one run of an encoding, task and seed.
    """
    groups: dict[tuple[str, int], dict[str, float]] = {}
    for run in runs:
        if run.learned >= least:
            groups.setdefault((run.task, run.seed), {})[run.encoding] = run.beyond
    found: dict[str, dict[str, dict[int, float]]] = {}
    for (task, seed), values in groups.items():
        if len(values) > 1:
            for encoding, value in reciprocal_ranks(values).items():
                found.setdefault(encoding, {}).setdefault(task, {})[seed] = value
    return found


class Rank(NamedTuple):
    """Of an encoding: the mean over `tasks` of the means over seeds of reciprocal ranks.

    deviation: over seeds, of the mean over the `repeated` tasks, those that have all of them; None
    of one seed, or of no such task.
    """

    mean: float
    tasks: int
    deviation: float | None
    repeated: int


def mean_reciprocal_ranks(runs, least):
    """{encoding: Rank}, of all `runs` with `learned` from `least` on."""
    seeds = sorted({run.seed for run in runs})
    found = {}
    for encoding, tasks in reciprocal_ranks_by_task(runs, least).items():
        whole = [its for its in tasks.values() if len(its) == len(seeds)]
        by_seed = [mean(its[seed] for its in whole) for seed in seeds] if whole else []
        spread = stdev(by_seed) if len(by_seed) > 1 else None
        over_tasks = mean(mean(its.values()) for its in tasks.values())
        found[encoding] = Rank(over_tasks, len(tasks), spread, len(whole))
    return found


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
