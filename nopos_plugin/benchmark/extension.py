"""The benchmark of length extension: updates of PoSE beside updates of the full target length.

A candidate is (how, target): how it comes to positions up to the target. The first one, windows as
they are, is what the others are compared with.
"""

from dataclasses import asdict, dataclass

from nopos_plugin.benchmark import corpus, timing, train, training
from nopos_plugin.benchmark.candidates import build_encoding
from nopos_plugin.data.pose import REACH
from nopos_plugin.provenance import PACKAGE

WINDOW, POSE, FULL = "window", "pose", "full"


@dataclass(frozen=True)
class Plan:
    encoding: str
    window: int  # tokens of a sample of PoSE
    targets: tuple  # lengths
    layers: int
    dim: int
    heads: int
    updates: int
    rounds: int
    device: str
    threads: int
    seed: int
    memory_share: float  # of the machine's that attention may need

    def candidates(self):
        each = [(how, target) for how in (POSE, FULL) for target in self.targets]
        return [(WINDOW, self.window), *each]

    def sample(self, candidate):
        """Tokens of one, which is an update."""
        how, target = candidate
        return target if how == FULL else self.window

    def as_training(self, candidate):
        """The train.Plan of windows that are as long."""
        length = self.sample(candidate)
        shared = {k: v for k, v in asdict(self).items() if k in train.Plan.__dataclass_fields__}
        encodings = {"encodings": (self.encoding,), "kernels": ("auto",)}
        return train.Plan(**{**shared, **encodings, "length": length, "max_tokens": length})


def check(plan):
    """Raises ValueError if the sizes of `plan` do not fit each other."""
    for target in plan.targets:
        if target < plan.window:
            raise ValueError(f"--targets {target} is shorter than --window {plan.window}")
    shortest = plan.as_training((WINDOW, plan.window))
    train.check(shortest)
    encoding = build_encoding(plan.encoding, shortest.sizes())
    if not encoding.accepts_given or encoding.max_positions is not None:
        raise ValueError(f"--encoding {plan.encoding}: PoSE cannot extend it; name rope, for one")


def measure(plan, budget):
    """A result (dict) for each candidate. What cannot be run says why under `not_run`."""

    def fill(data):
        document = REACH * plan.window
        longest = max(map(plan.sample, plan.candidates()))
        rows = (plan.updates + 1) * -(-longest // document)
        corpus.write_data_bin(data, rows, document, plan.seed)

    needs = {one: estimated_bytes(one, plan) for one in plan.candidates()}
    base = None
    for one, mine, said in train.in_turns(plan, needs, fill, command, budget):
        base = mine if base is None else base
        yield {**described(one, plan), **said, **summary(mine, base, plan.sample(one))}


def command(plan, candidate, data, user_dir):
    how, target = candidate
    sample = plan.sample(candidate)
    flags = {"--task": "language_modeling", "--tokens-per-sample": sample, "--max-tokens": sample}
    if how == POSE:
        flags["--task"] = "pose_language_modeling"
        flags |= {"--extension-factor": target / plan.window, "--documents": "lines"}
    return training.command(plan, plan.encoding, data, user_dir, flags)


def estimated_bytes(candidate, plan):
    return train.estimated_bytes((plan.encoding, "auto"), plan.as_training(candidate))


def described(candidate, plan):
    how, target = candidate
    sizes = {key: value for key, value in asdict(plan).items() if key != "targets"}
    return {
        "benchmark": "extension",
        "how": how,
        "target": target,
        "sample": plan.sample(candidate),
        **sizes,
        "dtype": "float32",
        "warm_up_updates": training.WARM_UP,
        "command": ["fairseq-train", *command(plan, candidate, "DATA-BIN", PACKAGE.name)],
    }


def summary(mine, base, sample):
    """As of train.summary, and the seconds of an update, which is one sample."""
    made = train.summary(mine, base)
    speeds = [one.tokens_per_second for one in mine.values() if one.tokens_per_second]
    return {**made, "update_seconds": timing.spread([sample / speed for speed in speeds])}
