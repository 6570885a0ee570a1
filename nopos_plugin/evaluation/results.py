"""results.jsonl: a line of JSON a result, which carries all that it takes to redo it."""

import json
import os
from typing import NamedTuple


class Kind(NamedTuple):
    """What a result is of.

    name: as its line says. command: that makes it. same: what says that two results are of the same
    thing, so that the second need not be made.
    """

    name: str
    command: str
    same: tuple[str, ...]

    def begin(self):
        """Of every line."""
        return json.dumps({"result": self.name})[:-1]


PERPLEXITY = Kind(
    "nopos_plugin perplexity",
    "nopos-evaluate",
    (
        "checkpoint_sha256",
        "model_overrides",
        "data_sha256",
        "split",
        "documents",
        "opening",
        "opener",
        "window_tokens",
        "stride_tokens",
        "first_window_tokens",
        "targets",
        "dtype",
    ),
)
PASSKEY = Kind(
    "nopos_plugin passkey",
    "nopos-passkey",
    (
        "checkpoint_sha256",
        "model_overrides",
        "tokenizer",
        "length_tokens",
        "exact_length",
        "trials",
        "seed",
        "dtype",
    ),
)
PROBE = Kind(
    "nopos_plugin probe",
    "nopos-probe",
    (
        "checkpoint_sha256",
        "model_overrides",
        "data_sha256",
        "split",
        "train_data_sha256",
        "train_split",
        "length_tokens",
        "updates",
        "batch_tokens",
        "lr",
        "seed",
        "dtype",
    ),
)
SHUFFLE = Kind(
    "nopos_plugin shuffle",
    "nopos-shuffle",
    (
        "checkpoint_sha256",
        "model_overrides",
        "data_sha256",
        "split",
        "length_tokens",
        "prefixes_tokens",
        "after_tokens",
        "kept_tokens",
        "samples",
        "permutations",
        "seed",
        "dtype",
    ),
)
ANSWERS = Kind(
    "nopos_plugin answers",
    "nopos-evaluate-answers",
    ("checkpoint_sha256", "model_overrides", "data_sha256", "samples", "dtype"),
)
ATTENTION = Kind(
    "nopos_plugin attention",
    "nopos-attention",
    (*ANSWERS.same, "against_sha256"),
)
KINDS = (PERPLEXITY, PASSKEY, PROBE, SHUFFLE, ANSWERS, ATTENTION)


def read(path, *kinds):
    """The results of `kinds` in the file at `path`, none if there is no file.

    A last line that an interruption cut short is left out. Raises ValueError for any other that is
    no such result.
    """
    names, commands = [kind.name for kind in kinds], " or ".join(kind.command for kind in kinds)
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
            if not isinstance(row, dict) or row.get("result") not in names:
                raise ValueError(f"{path}, line {number}, is no result of {commands}")
            rows.append(row)
    return rows


def unfinished(line):
    """Is it the beginning of a result, and no more?"""
    begins = [kind.begin() for kind in KINDS]
    if line.endswith("\n") or not any(line.startswith(b) or b.startswith(line) for b in begins):
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


def append(path, row, kind):
    """Add `row`, of that kind, to the file at `path`, and see that it is on the disk."""
    with open(path, "ab") as file:
        line = json.dumps({"result": kind.name, **row}, allow_nan=False)
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def find(row, rows, kind):
    """The last of `rows`, of that kind, that is of the same thing as `row`, or None."""
    for other in reversed(rows):
        if all(row.get(name) == other.get(name) for name in kind.same):
            return other
    return None


def kept(path, row, rows, kind, measured):
    """The one of `rows`, of that kind, that is of the same thing as `row`.

    If there is none it is made, `row` and what `measured()` adds, and kept in the file at `path`.
    """
    found = find(row, rows, kind)
    if found is None:
        found = {**row, **measured()}
        rows.append(found)
        append(path, found, kind)
    return found
