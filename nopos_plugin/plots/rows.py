"""What the pictures need of a result, checked before anything is drawn."""

import sys

# kinds of values, and the least that a number may be; NaN is none at all and may be
TEXT = (str,), None
SIZE = (int,), 1
PLACE = (int,), 0
NUMBER = (int, float), None
POSITIVE = (int, float), sys.float_info.min
NEEDED = {
    "checkpoint": TEXT,
    "data": TEXT,
    "split": TEXT,
    "targets": TEXT,
    "window_tokens": SIZE,
    "loss_by_position": ((list,), None),
}
# may be null or absent
OPTIONAL = {
    "checkpoint_sha256": TEXT,
    "data_sha256": TEXT,
    "documents": TEXT,
    "opening": TEXT,
    "dtype": TEXT,
    "model": TEXT,
    "position_encoding": TEXT,
    "position_args": TEXT,
    "model_overrides": ((dict,), None),
    "trained_tokens": SIZE,
    "stride_tokens": SIZE,
    "first_window_tokens": SIZE,
    "longest_window_tokens": SIZE,
    "perplexity_per_token": POSITIVE,
}
BUCKET = {"from": PLACE, "to": SIZE, "tokens": SIZE, "nats": NUMBER}


def checked(rows, path):
    """`rows`, all the lines of the file at `path`, if the pictures can be drawn from them.

    Raises ValueError if there are none, or for the first that lacks what they need.
    """
    if not rows:
        raise ValueError(f"{path} holds no results")
    for number, row in enumerate(rows, start=1):
        for name in unusable(row):
            raise ValueError(f"{path}, line {number}, has no usable {name}: not of nopos-evaluate")
    return rows


def unusable(row):
    """Names of what is missing in a result, or is not what it should be."""
    for name, kind in NEEDED.items():
        if not usable(row.get(name), kind):
            yield name
    for name, kind in OPTIONAL.items():
        if row.get(name) is not None and not usable(row[name], kind):
            yield name
    buckets = row["loss_by_position"]
    if not buckets or not all(isinstance(bucket, dict) for bucket in buckets):
        yield "loss_by_position"
    for bucket in buckets:
        for name, kind in BUCKET.items():
            if not usable(bucket.get(name), kind):
                yield f"loss_by_position: {name}"


def usable(value, kind):
    kinds, least = kind
    return type(value) in kinds and not (least is not None and value < least)
