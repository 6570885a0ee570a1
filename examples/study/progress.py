"""A line every few minutes: how far the study is, and when it will be done.

    python progress.py UPDATES MODEL...

looks at logs/MODEL.log, models/MODEL and evaluations/MODEL, until all is there. What is left is
told from what was done since this began. Ends with the process that started it.
"""

import os
import re
import sys
import time
from pathlib import Path

EVERY = 300  # seconds
EVALUATION = 0.3  # of the time that a training takes


def done(name, updates):
    """Of one model, 0 to 1 + EVALUATION."""
    if Path("evaluations", name).exists():
        return 1 + EVALUATION
    if Path("models", name).exists():
        return 1
    log = Path("logs", f"{name}.log")
    if not Path("models", f"{name}.part").exists() or not log.exists():
        return 0
    found = re.findall(r"num_updates=(\d+)", log.read_text(errors="replace"))
    return int(found[-1]) / updates if found else 0


def clock(seconds):
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02d}"


def main(updates, *names):
    total, start = len(names) * (1 + EVALUATION), time.monotonic()
    first = sum(done(name, int(updates)) for name in names)
    parent = os.getppid()
    while not time.sleep(EVERY) and os.getppid() == parent:
        now, gone = sum(done(name, int(updates)) for name in names), time.monotonic() - start
        left = clock((total - now) * gone / (now - first)) if now > first else "?"
        trained = sum(Path("models", name).exists() for name in names)
        scored = sum(Path("evaluations", name).exists() for name in names)
        print(
            f"study: {now / total:.0%} done, {trained} of {len(names)} trained, {scored} scored; "
            f"{clock(gone)} hours gone, about {left} left",
            flush=True,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
