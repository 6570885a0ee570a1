"""What the evaluations of several contestants came to.

A contestant is OURS, or a batch size of fairseq-eval-lm's; `done` is {contestant: [Scoring]}.
"""

import math
import statistics

from nopos_plugin.benchmark import timing

OURS = "ours"
LOSS = 1e-5  # relative difference of two losses that are the same
NEARLY = 1.15  # times the least seconds


def best_batch(done):
    """The batch size that took least, of those that were in most rounds; None of none."""
    seconds = medians(done)
    most = max((len(done[batch]) for batch in seconds), default=0)
    return min((x for x in seconds if len(done[x]) == most), key=seconds.get, default=None)


def contenders(done):
    """The batch sizes that may be the best: that took NEARLY as little as it."""
    seconds = medians(done)
    least = min(seconds.values(), default=0.0)
    return [batch for batch, one in seconds.items() if one <= NEARLY * least]


def medians(done):
    """{batch size: seconds} of those that did not fail."""
    return {
        contestant: statistics.median(one.seconds for one in ones)
        for contestant, ones in done.items()
        if contestant != OURS and all(one.seconds is not None for one in ones)
    }


def name(contestant):
    if contestant == OURS:
        return "nopos-evaluate"
    return f"fairseq-eval-lm --batch-size {contestant}"


def summary(done, not_run, tokens):
    """What the rounds came to. `ratio`: how many times as long fairseq-eval-lm takes, at best."""
    good = {
        contestant: [one for one in ones if one.seconds is not None]
        for contestant, ones in done.items()
    }
    spreads = {who: timing.spread([one.seconds for one in ones]) for who, ones in good.items()}
    best = best_batch(done)
    ours = good.get(OURS, [])
    rounds = list(zip(good.get(best, []), ours, strict=False))
    bits = {who: ones[0].bits_per_token for who, ones in good.items() if ones}
    mine, stock = bits.pop(OURS, None), bits
    differences = [abs(mine - one) / one for one in stock.values()] if mine is not None else []
    return {
        "rounds": len(rounds),
        "stock_seconds": {str(who): one for who, one in spreads.items() if who != OURS},
        "stock_not_run": {str(who): why for who, why in not_run.items() if who != OURS},
        "stock_batch_size": best,
        "our_seconds": spreads.get(OURS),
        "ratio": timing.spread([one.seconds / other.seconds for one, other in rounds]),
        "stock_bits_per_token": stock.get(best),
        "our_bits_per_token": mine,
        "relative_difference": largest(differences),
        "not_run": None if rounds or any_failed(done) else why_not(not_run),
        "failed": failure(done, tokens, differences),
    }


def largest(differences):
    """Of numbers the largest, what is no number before all; None of none."""
    return max(differences, key=lambda one: math.inf if math.isnan(one) else one, default=None)


def why_not(not_run):
    """Of the contestants that were left out, the first."""
    return next(iter(not_run.values()), "budget")


def any_failed(done):
    return any(one.seconds is None for ones in done.values() for one in ones)


def failure(done, tokens, differences):
    """{"reason", "last_lines"} of what went wrong, or None."""
    for contestant, ones in done.items():
        for one in ones:
            if one.seconds is None:
                reason = f"{name(contestant)} failed with exit status {one.exit_status}"
                return {"reason": reason, "last_lines": one.last_lines}
            if one.tokens != tokens:
                reason = f"{name(contestant)} scored {one.tokens:,} tokens of {tokens:,}"
                return {"reason": reason, "last_lines": ()}
    worst = largest(differences)
    if worst is not None and not worst <= LOSS:
        reason = f"the losses differ by {worst:.1e} of themselves, and may by {LOSS:g}"
        return {"reason": reason, "last_lines": ()}
    return None
