"""results.jsonl: a line of JSON a result, which carries all that it takes to redo it."""

import json
import os

RESULT = "nopos_plugin perplexity"
BEGIN = json.dumps({"result": RESULT})[:-1]  # of every line
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

    A last line that an interruption cut short is left out. Raises ValueError for a line that is no
    result of ours.
    """
    if not os.path.exists(path):
        return []
    rows = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if unfinished(line):
                break
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict) or row.get("result") != RESULT:
                raise ValueError(f"{path}, line {number}, is no result of nopos-evaluate")
            rows.append(row)
    return rows


def unfinished(line):
    """Is it the beginning of a result, and no more?"""
    if line.endswith("\n") or not (line.startswith(BEGIN) or BEGIN.startswith(line)):
        return False
    try:
        json.loads(line)
    except ValueError:
        return True
    return False


def mend(path):
    """Make the file at `path` one that results can be added to: its last line whole, or gone.

    Raises OSError if it cannot be written.
    """
    with open(path, "a+b") as file:
        file.seek(0)
        last = b"".join(file.readlines()[-1:])
        if unfinished(last.decode(errors="replace")):
            file.truncate(os.path.getsize(path) - len(last))
        elif last and not last.endswith(b"\n"):
            file.write(b"\n")


def append(path, row):
    """Add `row` to the file at `path`, and see that it is on the disk."""
    with open(path, "ab") as file:
        line = json.dumps({"result": RESULT, **row}, allow_nan=False)
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def find(row, rows):
    """The last of `rows` that is of the same thing as `row`, or None."""
    for other in reversed(rows):
        if all(row.get(name) == other.get(name) for name in SAME):
            return other
    return None
