"""results.jsonl: a line of JSON a result, which carries all that it takes to redo it."""

import json
import os

RESULT = "nopos_plugin perplexity"
# What says that two results are of the same thing: the second need not be made.
SAME = (
    "checkpoint_sha256",
    "model_overrides",
    "data_sha256",
    "split",
    "documents",
    "opening",
    "window_tokens",
    "stride_tokens",
    "first_window_tokens",
    "targets",
    "dtype",
)


def read(path):
    """The results in the file at `path`, none if there is no file.

    Raises ValueError for a line that is no result of ours.
    """
    if not os.path.exists(path):
        return []
    rows = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict) or row.get("result") != RESULT:
                raise ValueError(f"{path}, line {number}, is no result of nopos-evaluate")
            rows.append(row)
    return rows


def check_writable(path):
    """Raises OSError if results could not be added to the file at `path`."""
    with open(path, "ab"):
        pass


def append(path, row):
    """Add `row` to the file at `path`, and see that it is on the disk."""
    with open(path, "ab", buffering=0) as file:
        file.write(json.dumps({"result": RESULT, **row}).encode() + b"\n")
        os.fsync(file.fileno())


def find(row, rows):
    """The last of `rows` that is of the same thing as `row`, or None."""
    for other in reversed(rows):
        if all(row.get(name) == other.get(name) for name in SAME):
            return other
    return None
