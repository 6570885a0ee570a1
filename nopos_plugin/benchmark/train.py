"""The benchmark of training: whole updates of `fairseq-train`, in turns.

A pair is (encoding, kernel), names; the first one, nopos, is what the others are compared with.
"""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from nopos_plugin.benchmark import corpus, memory, timing, training
from nopos_plugin.benchmark.candidates import Sizes, build_encoding
from nopos_plugin.benchmark.records import progress
from nopos_plugin.positions.options import format_config
from nopos_plugin.provenance import PACKAGE

BASE = "nopos"


@dataclass(frozen=True)
class Plan:
    encodings: tuple
    kernels: tuple  # of --attention-kernel
    layers: int
    dim: int
    heads: int
    length: int  # tokens of a sample
    max_tokens: int  # of a batch
    updates: int
    rounds: int
    device: str
    threads: int
    seed: int
    memory_share: float  # of the machine's that attention may need

    def pairs(self):
        """nopos, then all encodings with the first kernel, ..."""
        others = [(name, kernel) for kernel in self.kernels for name in self.encodings]
        return list(dict.fromkeys([(BASE, self.kernels[0]), *others]))

    def sizes(self):
        """Those of the attention of a layer."""
        return Sizes(
            batch=self.max_tokens // self.length,
            heads=self.heads,
            head_dim=self.dim // self.heads,
            length=self.length,
            dtype="float32",
            device=self.device,
            window=None,
            seed=self.seed,
        )


def check(plan):
    """Raises ValueError if the sizes of `plan` do not fit each other or one of its encodings."""
    if plan.dim % plan.heads:
        raise ValueError(f"--dim {plan.dim} is no multiple of --heads {plan.heads}")
    if plan.max_tokens < plan.length:
        raise ValueError(
            f"--max-tokens {plan.max_tokens} does not hold one sample of --length {plan.length}"
        )
    if plan.updates <= training.WARM_UP:
        raise ValueError(
            f"--updates {plan.updates}: the first {training.WARM_UP} only warm up, "
            f"so at least {training.WARM_UP + 1} are needed"
        )
    for name in plan.encodings:
        build_encoding(name, plan.sizes())


def measure(plan, budget):
    """A result (dict) for each pair. What cannot be run says why under `not_run`."""

    def fill(data):
        rows = (plan.updates + 1) * plan.sizes().batch
        corpus.write_data_bin(data, rows, plan.length, plan.seed)

    needs = {pair: estimated_bytes(pair, plan) for pair in plan.pairs()}
    base = None
    for pair, mine, said in in_turns(plan, needs, fill, command, budget):
        base = mine if base is None else base
        yield {**described(pair, plan), **said, **summary(mine, base)}


def in_turns(plan, needs, fill, command, budget):
    """(candidate, {round: Training}, fields on what it needs and why it was not run) of each.

    needs: {candidate: bytes}. fill: makes a folder the data-bin. command: (plan, candidate, data,
    user_dir) -> arguments of fairseq-train.
    """
    most = plan.memory_share * memory.machine_bytes(plan.device)
    done = {one: {} for one, need in needs.items() if need <= most}
    with tempfile.TemporaryDirectory() as folder:
        data, work = Path(folder, "data-bin"), Path(folder, "work")
        data.mkdir()
        work.mkdir()
        fill(data)
        commands = {one: command(plan, one, data, PACKAGE) for one in done}
        for number in range(plan.rounds):
            one_round(number, plan, done, commands, work, budget)
    for one, need in needs.items():
        why_not = f"needs {need / 2**30:.1f} GiB" if one not in done else "budget"
        said = {"estimated_attention_bytes": need, "not_run": None if done.get(one) else why_not}
        yield one, done.get(one, {}), said


def command(plan, pair, data, user_dir):
    name, kernel = pair
    flags = {
        "--task": "language_modeling",
        "--attention-kernel": kernel,
        "--tokens-per-sample": plan.length,
        "--max-tokens": plan.max_tokens,
    }
    return training.command(plan, name, data, user_dir, flags)


def one_round(number, plan, done, commands, work, budget):
    """Add a Training to each of `done`, save where one failed or the budget has no room.

    commands: of each, arguments of fairseq-train.
    """
    for pair, before in done.items():
        every = [one.seconds for ones in done.values() for one in ones.values()]
        expected = before[number - 1].seconds if number - 1 in before else max(every, default=0.0)
        failed = any(one.tokens_per_second is None for one in before.values())
        if failed or expected >= budget.left():
            continue
        before[number] = one = training.run(commands[pair], work, plan.threads)
        speed = f"exit status {one.exit_status}"
        if one.tokens_per_second is not None:
            speed = f"{one.tokens_per_second:.0f} tokens/s"
        progress(f"round {number + 1} of {plan.rounds}: {' '.join(map(str, pair))}: {speed}")


def estimated_bytes(pair, plan):
    name, kernel = pair
    bias = memory.BiasShape.of(name, plan.sizes())
    return memory.estimated_bytes(kernel, bias, plan.sizes(), plan.layers)


def described(pair, plan):
    name, kernel = pair
    sizes = {
        key: value for key, value in asdict(plan).items() if key not in ("encodings", "kernels")
    }
    return {
        "benchmark": "train",
        "encoding": name,
        "position_args": format_config(build_encoding(name, plan.sizes()).config),
        "kernel": kernel,
        **sizes,
        "dtype": "float32",
        "segment_tokens": corpus.SEGMENT,
        "warm_up_updates": training.WARM_UP,
        "command": ["fairseq-train", *command(plan, pair, "DATA-BIN", PACKAGE.name)],
    }


def summary(mine, base):
    """What the rounds of a pair came to, and in comparison to those of `base`."""
    speeds = {n: one.tokens_per_second for n, one in mine.items() if one.tokens_per_second}
    others = {n: one.tokens_per_second for n, one in base.items() if one.tokens_per_second}
    failed = [
        {"exit_status": one.exit_status, "last_lines": one.last_lines}
        for one in mine.values()
        if one.tokens_per_second is None
    ]
    both = [n for n in speeds if n in others]
    return {
        "rounds": len(speeds),
        "tokens_per_second": timing.spread(list(speeds.values())),
        "tokens_per_second_ratio": timing.spread([speeds[n] / others[n] for n in both]),
        "peak_resident_bytes": max(
            (one.peak_resident_bytes for one in mine.values()), default=None
        ),
        "failed": failed[0] if failed else None,
    }
