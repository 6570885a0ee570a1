"""The benchmark of data: nopos-prepare-pile and the classic route to a data-bin, in turns.

Both have the same text, GPT-2's BPE and as many workers. What they make must agree, as
`agreement` has it. Seconds are those of whole processes, start and imports included.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from nopos_plugin.benchmark import agreement, routes, timing
from nopos_plugin.benchmark.records import progress
from nopos_plugin.prepare.tokenizers import build

CLASSIC = 0  # the contestant; the others are numbers of copies
RATES = ("documents", "tokens")


@dataclass(frozen=True)
class Plan:
    sources: tuple  # files of documents
    gpt2_encoder_json: str
    gpt2_vocab_bpe: str | None  # None: beside encoder.json, as dict.txt
    gpt2_dict: str | None
    copies: tuple  # of the sources that nopos-prepare-pile has; the classic route has one
    workers: int
    rounds: int

    def vocabulary(self):
        """Paths of encoder.json, vocab.bpe and dict.txt."""
        names = ("gpt2_encoder_json", "gpt2_vocab_bpe", "gpt2_dict")
        tokenizer = build("gpt2", **{name: getattr(self, name) for name in names})
        return [path.resolve() for path in tokenizer.files()]


def check(plan):
    """Raises ValueError if a file of `plan` is not there."""
    plan.vocabulary()
    for name in plan.sources:
        if not Path(name).is_file():
            raise ValueError(f"--sources {name}: no such file; name files in the Pile's format")


def measure(plan, budget):
    """A result (dict) for each number of copies, after all rounds.

    A round: the classic route, then nopos-prepare-pile of each number of copies. Without the
    documents of the former the others are not run; who fails once is out.
    """
    load = os.getloadavg()[0]
    vocabulary = plan.vocabulary()
    cut = agreement.cut(vocabulary[0], vocabulary[2])
    done: dict = {who: [] for who in (CLASSIC, *plan.copies)}  # contestant -> [routes.Made]
    failed: dict = {}  # contestant -> {"reason", "last_lines"}
    for number in range(plan.rounds):
        for who, before in done.items():
            expected = before[-1].seconds if before else 0.0
            if expected >= budget.left() or who in failed or not (who == CLASSIC or done[CLASSIC]):
                continue
            with tempfile.TemporaryDirectory() as folder:
                made = routes.take(plan, vocabulary, Path(folder), who, cut)
            failure = made.failure or (who != CLASSIC and disagreement(made, who, done[CLASSIC][0]))
            if failure:
                failed[who] = failure
                progress(f"{name(who)}: {failure['reason']}")
                continue
            before.append(made)
            progress(
                f"round {number + 1} of {plan.rounds}: {name(who)}: {made.seconds:.1f} seconds"
            )
    for copies in plan.copies:
        why = failed.get(CLASSIC) or failed.get(copies)
        rows = described(plan, copies, load), summary(done[CLASSIC], done[copies], copies, why)
        yield {key: value for row in rows for key, value in row.items()}


def name(who):
    if who == CLASSIC:
        return "the classic route"
    return f"nopos-prepare-pile, {who} {'copy' if who == 1 else 'copies'}"


def disagreement(ours, copies, classic):
    reason = agreement.difference(ours.documents, classic.documents, copies)
    return reason and {"reason": reason, "last_lines": ()}


def summary(classic, ours, copies, failure):
    """What the rounds came to: lists of routes.Made.

    `ratio`: how many times as many tokens a second are ours. Tokens are ours for both, since the
    text is the same.
    """
    if failure:
        classic, ours = [], []
    rounds = list(zip(classic, ours, strict=False))
    ratios = [copies * one.seconds / other.seconds for one, other in rounds]
    counts = ours[0].counts if ours else dict.fromkeys((*RATES, "bytes"))
    steps = {step: [one.runs[step].seconds for one in classic] for step in routes.STEPS}
    return {
        **counts,
        "rounds": len(rounds),
        "our_seconds": timing.spread([one.seconds for one in ours]),
        **rates("our", ours, counts),
        "our_peak_bytes": peak(ours),
        "classic_seconds": timing.spread([one.seconds for one in classic]),
        "classic_step_seconds": {step: timing.spread(times) for step, times in steps.items()},
        **rates("classic", classic if ours else [], counts, copies),
        "classic_peak_bytes": peak(classic),
        "ratio": timing.spread(ratios),
        "not_run": None if rounds or failure else "budget",
        "failed": failure,
    }


def rates(whose, made, counts, copies=1):
    return {
        f"{whose}_{what}_per_second": timing.spread(
            [counts[what] / copies / one.seconds for one in made]
        )
        for what in RATES
    }


def peak(made):
    """The most memory in all rounds; None if it is not known."""
    return max((one.peak_bytes for one in made if one.peak_bytes), default=None)


def described(plan, copies, load):
    return {
        "benchmark": "data",
        "sources": [Path(one).name for one in plan.sources],
        "source_bytes": copies * sum(Path(one).stat().st_size for one in plan.sources),
        "copies": copies,
        "workers": plan.workers,
        "load_average": load,  # of the machine, at the start
    }
