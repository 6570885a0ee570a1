"""A line every few minutes: how far an example is, and when it will be done.

    python progress.py UPDATES FOLDER/MODEL...

looks at what is there of models/MODEL, evaluations/MODEL and analyses/MODEL until all is. What is
left is told from what was done since this began. Ends with the process that started it.
"""

import os
import re
import sys
import time
from pathlib import Path

EVERY = 300  # seconds
COST = {"models": 1, "evaluations": 0.15, "analyses": 0.3}  # in trainings


def work(paths):
    """{path: its part of all that there is to do}."""
    cost = {path: COST[Path(path).parent.name] for path in paths}
    return {path: one / sum(cost.values()) for path, one in cost.items()}


def done(path, updates):
    """0 to 1; of a training, by its last checkpoint."""
    if Path(path).exists():
        return 1
    if Path(path).parent.name != "models":
        return 0
    saved = Path(f"{path}.part").glob("checkpoint_*_*.pt")
    return max((int(re.findall(r"\d+", path.name)[-1]) for path in saved), default=0) / updates


def told(paths):
    """How many of each folder are there."""
    counts = []
    for folder in COST:
        asked = [path for path in paths if Path(path).parent.name == folder]
        if asked:
            there = sum(Path(path).exists() for path in asked)
            counts.append(f"{there} of {len(asked)} {folder}")
    return ", ".join(counts)


def clock(seconds):
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02d}"


def main(updates, *paths):
    share = work(paths)

    def progress():
        return sum(part * done(path, int(updates)) for path, part in share.items())

    first, start, parent = progress(), time.monotonic(), os.getppid()
    while not time.sleep(EVERY) and os.getppid() == parent:
        now, gone = progress(), time.monotonic() - start
        left = clock((1 - now) * gone / (now - first)) if now > first else "?"
        print(
            f"{now:.0%} done: {told(paths)}; {clock(gone)} hours gone, about {left} left",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
