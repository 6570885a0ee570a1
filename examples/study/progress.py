"""A line every few minutes: how far the study is, and when it will be done.

    python progress.py UPDATES PROBED MODEL...

looks at what is in models/, evaluations/ and analyses/ (of the models in PROBED, a list with
spaces) until all is there. What is left is told from what was done since this began. Ends with the
process that started it.
"""

import os
import re
import sys
import time
from pathlib import Path

EVERY = 300  # seconds
COST = {"models": 1, "evaluations": 0.15, "analyses": 0.3}  # in trainings


def work(names, probed):
    """{(folder, model): its part of all that there is to do}."""
    cost = {(folder, name): cost for folder, cost in COST.items() for name in names}
    kept = {key: one for key, one in cost.items() if key[0] != "analyses" or key[1] in probed}
    return {key: one / sum(kept.values()) for key, one in kept.items()}


def done(folder, name, updates):
    """0 to 1; of a training, by its last checkpoint."""
    if Path(folder, name).exists():
        return 1
    if folder != "models":
        return 0
    saved = Path(folder, f"{name}.part").glob("checkpoint_*_*.pt")
    return max((int(re.findall(r"\d+", path.name)[-1]) for path in saved), default=0) / updates


def clock(seconds):
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02d}"


def main(updates, probed, *names):
    share = work(names, probed.split())

    def progress():
        return sum(part * done(*key, int(updates)) for key, part in share.items())

    first, start, parent = progress(), time.monotonic(), os.getppid()
    while not time.sleep(EVERY) and os.getppid() == parent:
        now, gone = progress(), time.monotonic() - start
        left = clock((1 - now) * gone / (now - first)) if now > first else "?"
        trained, scored = (
            sum(Path(folder, name).exists() for name in names)
            for folder in ("models", "evaluations")
        )
        print(
            f"study: {now:.0%} done, {trained} of {len(names)} trained, {scored} scored; "
            f"{clock(gone)} hours gone, about {left} left",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
