"""The benchmark of evaluation: nopos-evaluate and stock fairseq-eval-lm, in turns.

Both score the same tokens in the same windows with the same checkpoint, so their losses must agree.
"""

import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from nopos_plugin.benchmark import memory, scoring, subject
from nopos_plugin.benchmark.comparison import OURS, contenders, name, summary
from nopos_plugin.benchmark.records import progress

SOFTMAXES = ("full", "adaptive")
FACTOR = 4  # of channels, from one band of an adaptive softmax to the next


@dataclass(frozen=True)
class Plan:
    softmax: tuple  # of SOFTMAXES
    layers: int
    dim: int
    heads: int
    types: int  # of the dictionary, with a full softmax
    adaptive_types: int  # with an adaptive one
    cutoffs: tuple  # of its bands
    windows: tuple
    strides: tuple  # `window` for that of the window
    tokens: int  # that are scored, at least
    batch_sizes: tuple  # of fairseq-eval-lm
    rounds: int
    taken_as: str  # the encoding of our own model that the checkpoint is loaded as, or stock
    device: str
    threads: int
    seed: int
    memory_share: float  # of the machine's that fairseq-eval-lm's output may need

    def pairs(self):
        """(window, stride)"""
        sizes = [(w, w if s == "window" else s) for w in self.windows for s in self.strides]
        return list(dict.fromkeys(sizes))

    def scored(self, stride):
        """Tokens that fill the last batch, whatever its size."""
        step = stride * math.lcm(*self.batch_sizes)
        return -(-self.tokens // step) * step

    def vocabulary(self, softmax):
        return self.adaptive_types if softmax == "adaptive" else self.types


def check(plan):
    """Raises ValueError if the sizes of `plan` do not fit each other."""
    if plan.dim % plan.heads:
        raise ValueError(f"--dim {plan.dim} is no multiple of --heads {plan.heads}")
    for window, stride in plan.pairs():
        if stride > window:
            raise ValueError(
                f"--strides {stride} exceeds --windows {window}: tokens would go unscored; name "
                f"strides up to {window}, or `window`"
            )
    least = len(subject.dictionary(0)) + 1
    for softmax in plan.softmax:
        if plan.vocabulary(softmax) < least:
            flag = "--adaptive-types" if softmax == "adaptive" else "--types"
            raise ValueError(f"{flag} {plan.vocabulary(softmax)}: fairseq needs {least} at least")
    if "adaptive" in plan.softmax:
        check_bands(plan)


def check_bands(plan):
    bands = [*plan.cutoffs, plan.adaptive_types]
    if bands != sorted(set(bands)):
        raise ValueError(
            f"--cutoffs {','.join(map(str, plan.cutoffs))} must rise, up to less than "
            f"--adaptive-types {plan.adaptive_types}"
        )
    if plan.dim < FACTOR ** len(plan.cutoffs):
        raise ValueError(
            f"--dim {plan.dim} leaves the last band no channel: with {len(plan.cutoffs)} --cutoffs "
            f"it takes {FACTOR ** len(plan.cutoffs)} at least"
        )


def measure(plan, budget):
    """A result (dict) for each softmax and pair."""
    for softmax in plan.softmax:
        for pair in plan.pairs():
            with tempfile.TemporaryDirectory() as folder:
                yield side_by_side(plan, softmax, pair, Path(folder), budget)


def side_by_side(plan, softmax, pair, folder, budget):
    """The result of one softmax and pair (window, stride).

    All batch sizes take part in the first round, ours and the contenders in the others.
    """
    window, stride = pair
    not_run = {}  # contestant -> why
    done = {}  # contestant -> [Scoring]
    commands = write(plan, softmax, pair, folder)
    most = plan.memory_share * memory.machine_bytes(plan.device)
    for contestant in list(commands):
        need = contestant != OURS and estimated_bytes(plan, softmax, pair, contestant)
        if need > most:
            not_run[contestant] = f"needs {need / 2**30:.1f} GiB"
    for number in range(plan.rounds):
        best = contenders(done)
        turns = [OURS, *best] if best else [x for x in commands if x not in not_run]
        for contestant in turns:
            one = turn(plan, contestant, commands, done, folder, budget)
            if one is None:
                if contestant not in done:
                    not_run[contestant] = "budget"
                continue
            done.setdefault(contestant, []).append(one)
            speed = f"exit status {one.exit_status}"
            if one.seconds is not None:
                speed = f"{one.seconds:.1f} seconds"
            progress(
                f"{softmax} softmax, window {window}, stride {stride}, round {number + 1} of "
                f"{plan.rounds}: {name(contestant)}: {speed}"
            )
    return {
        **described(plan, softmax, pair, commands, folder),
        **summary(done, not_run, plan.scored(stride)),
    }


def write(plan, softmax, pair, folder):
    """Make data and checkpoint in `folder`; {contestant: its arguments}."""
    window, stride = pair
    data, checkpoint = folder / "data-bin", folder / "checkpoint.pt"
    data.mkdir()
    types = plan.vocabulary(softmax)
    subject.write_data_bin(data, plan.scored(stride), types, plan.seed)
    flags = subject.flags(softmax, plan.layers, plan.dim, plan.heads, window, plan.cutoffs)
    subject.write_checkpoint(checkpoint, data, flags, plan.seed)
    commands = {OURS: scoring.our_command(plan, pair, data, checkpoint)}
    for batch in sorted(plan.batch_sizes):
        commands[batch] = scoring.stock_command(plan, pair, batch, data, checkpoint)
    return commands


def turn(plan, contestant, commands, done, folder, budget):
    """The Scoring of a contestant, None if the budget has no room or it failed before."""
    before = done.get(contestant, [])
    every = [one.wall_seconds for ones in done.values() for one in ones]
    expected = before[-1].wall_seconds if before else max(every, default=0.0)
    if expected >= budget.left() or any(one.seconds is None for one in before):
        return None
    run = scoring.run_ours if contestant == OURS else scoring.run_stock
    return run(commands[contestant], folder, plan.threads)


def estimated_bytes(plan, softmax, pair, batch):
    """What fairseq-eval-lm's log-probabilities need: of all types, at every position.

    A full softmax has logits besides; an adaptive one those of its head twice, and of the scored
    positions those of their bands twice.
    """
    window, stride = pair
    types = plan.vocabulary(softmax)
    if softmax == "full":
        values = 2 * window * types
    else:
        head = plan.cutoffs[0] + len(plan.cutoffs)
        values = window * (types + 2 * head) + 2 * stride * (types - plan.cutoffs[0])
    return 4 * batch * values


def described(plan, softmax, pair, commands, folder):
    window, stride = pair
    kept = ("layers", "dim", "heads", "batch_sizes", "taken_as", "device", "threads", "seed")
    sizes = {key: value for key, value in asdict(plan).items() if key in kept}

    def shown(contestant):
        return [text.replace(f"{folder}/", "") for text in commands[contestant]]

    return {
        "benchmark": "eval",
        "softmax": softmax,
        "types": plan.vocabulary(softmax),
        "cutoffs": plan.cutoffs if softmax == "adaptive" else None,
        "window": window,
        "stride": stride,
        "tokens": plan.scored(stride),
        **sizes,
        "memory_share": plan.memory_share,
        "dtype": "float32",
        "stock_command": ["fairseq-eval-lm", *shown(min(plan.batch_sizes))],
        "our_command": ["nopos-evaluate", *shown(OURS)],
    }
