"""Seconds of calls side by side, and what to say of several measurements of one thing."""

import statistics
import time

import torch


def seconds(call, device):
    """Seconds that `call()` takes, until the device is done with it."""
    _wait(device)
    start = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - start


def interleaved(calls, repeats, device, budget):
    """{name: [seconds of each round]} of `calls` (functions by name), each once a round.

    So what disturbs the machine for a while disturbs all alike. Fewer than `repeats` rounds, but
    one at least, if `budget` has no time for another.
    """
    times = {name: [] for name in calls}
    for _ in range(repeats):
        before = budget.left()
        for name, call in calls.items():
            times[name].append(seconds(call, device))
        if budget.left() < before - budget.left():
            break
    return times


def ratios(times, floor):
    """Of each round, `times` to `floor`."""
    return [one / other for one, other in zip(times, floor, strict=True)]


def spread(values):
    """Median and range of measurements, for a result; None of none."""
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def _wait(device):
    if device == "cuda":
        torch.cuda.synchronize()
