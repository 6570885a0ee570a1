"""How many answers are right, by the length of the question."""

import torch


def tokens_right(logits, target, pad):
    """(tokens, right) of each row, (B,) int64, where all tokens before each are the gold ones.

    logits: (B, T, vocabulary). target: (B, T), `pad` where nothing is asked.
    """
    real = target != pad
    right = (logits.argmax(-1) == target) & real
    return torch.stack([real.sum(1), right.sum(1)])


def by_length(rows):
    """[{"length", "questions", ...}] by length: sums of `rows`, {"length", ...} of numbers."""
    found: dict[int, dict] = {}
    for row in rows:
        sums = found.setdefault(row["length"], {"length": row["length"], "questions": 0})
        sums["questions"] += 1
        for name, value in row.items():
            if name != "length":
                sums[name] = sums.get(name, 0) + value
    return [found[length] for length in sorted(found)]


def share(buckets, name="right", of="questions"):
    """Of all questions in `buckets`, those that are right; None of no questions."""
    total = sum(bucket[of] for bucket in buckets)
    return sum(bucket[name] for bucket in buckets) / total if total else None
