"""Candidates at one length in turns, as many as the budget has time for."""

import statistics

import torch

from nopos_plugin.benchmark import timing
from nopos_plugin.benchmark.budget import fitting
from nopos_plugin.benchmark.candidates import Candidate, Inputs, build_encoding
from nopos_plugin.benchmark.records import progress

PASSES = ("forward", "forward_backward")
CHILD = 2.0  # seconds that a process to measure memory in takes to start, at most


def side_by_side(pairs, plan, sizes, budget, known, not_run):
    """{pair: Candidate} and {(pass, pair): [seconds of each round]} of those that the budget has.

    known: {pair: (sizes, seconds of both passes)}, which is read and updated. not_run: {pair: why},
    which gets what is refused. The first of `pairs` is what the others are compared with.
    """
    costs = {pair: expected_seconds(pair, sizes, plan, known) for pair in pairs}
    chosen = fitting(costs, budget.left())
    candidates = warmed(chosen, plan, sizes, budget, known, not_run)
    calls = {
        (each, pair): getattr(candidate, each)
        for each in PASSES
        for pair, candidate in candidates.items()
    }
    times = timing.interleaved(calls, plan.repeats, plan.device, budget)
    for pair in candidates:
        known[pair] = sizes, sum(statistics.median(times[each, pair]) for each in PASSES)
    return candidates, times


def expected_seconds(pair, sizes, plan, known):
    """Of warm-up, repeats and the measurement of memory, from a shorter length; 0 if not known."""
    if pair not in known:
        return 0.0
    before, seconds = known[pair]
    seconds *= sizes.batch * sizes.length**2 / (before.batch * before.length**2)
    return seconds * (plan.repeats + 1) + plan.memory * (CHILD + seconds)


def warmed(pairs, plan, sizes, budget, known, not_run):
    """{pair: Candidate} of those, called once, that fit the budget; `not_run` gets refusals."""
    where = f"length {sizes.length}, batch {sizes.batch}"
    progress(f"{where}: warming up {len(pairs)} of {len(plan.pairs())} candidates")
    candidates, costs = {}, {}
    inputs = Inputs(sizes) if pairs else None
    for pair in pairs:
        if budget.left() <= 0:
            break
        name, kernel = pair
        try:
            encoding = None if name is None else build_encoding(name, sizes)
            candidates[pair] = Candidate(encoding, kernel, inputs)
            seconds = warm_up(candidates[pair], sizes.device)
        except (ValueError, torch.OutOfMemoryError) as error:
            not_run[pair] = str(error).splitlines()[0]
            continue
        known[pair] = sizes, seconds
        costs[pair] = plan.repeats * seconds
    fit = fitting(costs, budget.left())
    if fit:
        spent = sum(costs[pair] for pair in fit)
        progress(f"{where}: {plan.repeats} rounds of {len(fit)}, about {spent:.0f} seconds")
    return {pair: candidates[pair] for pair in fit}


def warm_up(candidate, device):
    """Seconds of a forward and a forward+backward, after what a GPU has to compile."""
    calls = (candidate.forward, candidate.forward_backward)
    if device == "cuda":
        for call in calls:
            call()
    return sum(timing.seconds(call, device) for call in calls)
