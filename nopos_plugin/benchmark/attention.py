"""The benchmark of attention: encodings and kernels at several lengths, against the floor.

A pair is (encoding, kernel), names; the floor is (None, FLOOR).
"""

from dataclasses import asdict, dataclass

import torch

from nopos_plugin.benchmark import memory, peak, timing
from nopos_plugin.benchmark.candidates import FLOOR, Sizes, build_encoding, training_call
from nopos_plugin.benchmark.corpus import SEGMENT
from nopos_plugin.benchmark.records import progress
from nopos_plugin.benchmark.rounds import CHILD, PASSES, side_by_side


@dataclass(frozen=True)
class Plan:
    encodings: tuple
    kernels: tuple
    lengths: tuple
    batch: int  # at most
    max_tokens: int  # of a batch, unless one row has more
    heads: int
    head_dim: int
    dtype: str
    device: str
    window: int | None
    seed: int
    repeats: int
    memory: bool  # is it measured?
    memory_share: float  # of the machine's that a pair may need
    threads: int

    def pairs(self):
        """The floor, then all encodings with the first kernel, ..."""
        return [(None, FLOOR), *((name, k) for k in self.kernels for name in self.encodings)]

    def sizes_at(self, length):
        batch = max(1, min(self.batch, self.max_tokens // length))
        same = ("heads", "head_dim", "dtype", "device", "window", "seed")
        return Sizes(batch=batch, length=length, **{name: getattr(self, name) for name in same})


def check(plan):
    """Raises ValueError if the sizes of `plan` do not fit one of its encodings."""
    for name in plan.encodings:
        build_encoding(name, plan.sizes_at(min(plan.lengths)))


def measure(plan, budget):
    """A result (dict) for each pair at each length, shorter lengths first."""
    torch.set_num_threads(plan.threads)
    known = {}  # pair -> sizes, and seconds of a forward and a forward+backward of these
    for length in sorted(plan.lengths):
        yield from at_length(plan, plan.sizes_at(length), budget, known)


def at_length(plan, sizes, budget, known):
    """The results at one length. What cannot be run says why under `not_run`."""
    needs = {
        (name, kernel): memory.estimated_bytes(kernel, memory.BiasShape.of(name, sizes), sizes)
        for name, kernel in plan.pairs()
    }
    most = plan.memory_share * memory.machine_bytes(sizes.device)
    not_run = {pair: f"needs {need / 2**30:.1f} GiB" for pair, need in needs.items() if need > most}
    possible = [pair for pair in needs if pair not in not_run]
    candidates, times = side_by_side(possible, plan, sizes, budget, known, not_run)
    if candidates and plan.memory:
        progress(f"length {sizes.length}, batch {sizes.batch}: memory")
    for pair, need in needs.items():
        yield {
            **described(pair, sizes, candidates.get(pair)),
            "estimated_bytes": need,
            "not_run": None if pair in candidates else not_run.get(pair, "budget"),
            **summary(pair, times),
            **peak_of(pair, sizes, plan, budget, known if pair in candidates else {}),
        }


def described(pair, sizes, candidate):
    """What was measured. `served` is the kernel that `auto` took."""
    name, kernel = pair
    return {
        "benchmark": "attention",
        "encoding": name,
        "position_args": None if candidate is None else candidate.options(),
        "kernel": kernel,
        "served": None if candidate is None else candidate.served(),
        **asdict(sizes),
        "segment_tokens": SEGMENT,
    }


def summary(pair, times):
    """Seconds and ratios to the floor of both passes, nothing for what was not run."""
    result = {"repeats": len(times.get((PASSES[0], pair), ()))}
    for each in PASSES:
        mine, floor = times.get((each, pair), ()), times.get((each, (None, FLOOR)), ())
        result[f"{each}_seconds"] = timing.spread(mine)
        result[f"{each}_ratio"] = timing.spread(timing.ratios(mine, floor)) if mine else None
    return result


def peak_of(pair, sizes, plan, budget, known):
    """Peak extra memory of a forward+backward, or why it is not known."""
    extra, why = None, None
    if pair in known and plan.memory:
        if budget.left() < CHILD + known[pair][1]:
            why = "budget"
        elif sizes.device == "cuda":
            extra = peak.extra_device_bytes(training_call(*pair, sizes))
        else:
            extra, why = peak.extra_bytes(training_call, *pair, sizes, threads=plan.threads)
    return {"peak_extra_bytes": extra, "peak_not_measured": why}
