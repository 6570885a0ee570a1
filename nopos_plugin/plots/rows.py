"""What the pictures need of a result, checked before anything is drawn."""

import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple

# kinds of values, and the least that a number may be; NaN is none at all and may be
TEXT = (str,), None
SIZE = (int,), 1
PLACE = (int,), 0
WHOLE = (int,), None
NUMBER = (int, float), None
AMOUNT = (int, float), 0
POSITIVE = (int, float), sys.float_info.min
LIST = (list,), None
PARTS = 20  # of how far back a token is, in results of nopos-attention
# of all, may be null or absent
LINE = {
    "checkpoint_sha256": TEXT,
    "dtype": TEXT,
    "model": TEXT,
    "position_encoding": TEXT,
    "position_args": TEXT,
    "extension": TEXT,
    "model_overrides": ((dict,), None),
    "trained_tokens": SIZE,
}


class Members(NamedTuple):
    """What each member of a list in a result has."""

    fields: dict
    sound: Callable[[dict], bool] = lambda one: True  # do they agree?


class Kind(NamedTuple):
    """What a result has: fields that it needs, others, and lists."""

    command: str
    needed: dict
    optional: dict
    lists: dict[str, Members]
    others: Callable[[dict], Iterable[str]] = lambda row: ()  # of fields, those that are unusable


PERPLEXITY = Kind(
    "nopos-evaluate",
    {
        "checkpoint": TEXT,
        "data": TEXT,
        "split": TEXT,
        "targets": TEXT,
        "window_tokens": SIZE,
    },
    {
        **LINE,
        "data_sha256": TEXT,
        "documents": TEXT,
        "opening": TEXT,
        "stride_tokens": SIZE,
        "first_window_tokens": SIZE,
        "longest_window_tokens": SIZE,
        "perplexity_per_token": POSITIVE,
    },
    {
        "loss_by_position": Members(
            {"from": PLACE, "to": SIZE, "tokens": SIZE, "nats": NUMBER},
            lambda one: one["from"] < one["to"],
        )
    },
)
PASSKEY = Kind(
    "nopos-passkey",
    {"checkpoint": TEXT, "length_tokens": SIZE},
    {**LINE, "prompt_tokens": ((dict,), None)},
    {
        "by_depth": Members(
            {"from": NUMBER, "to": NUMBER, "trials": SIZE, "correct": PLACE},
            lambda one: 0 <= one["from"] < one["to"] <= 1 and one["correct"] <= one["trials"],
        )
    },
)
WINDOWS = {"checkpoint": TEXT, "data": TEXT, "split": TEXT, "length_tokens": SIZE, "seed": WHOLE}
PROBE = Kind(
    "nopos-probe",
    {
        **WINDOWS,
        "train_split": TEXT,
        "updates": SIZE,
        "batch_tokens": SIZE,
        "lr": POSITIVE,
        "random_error_tokens": AMOUNT,
    },
    {**LINE, "data_sha256": TEXT},
    {
        "layers": Members(
            {"layer": PLACE, "error_tokens": AMOUNT, "control_error_tokens": AMOUNT},
        )
    },
)
SHUFFLE = Kind(
    "nopos-shuffle",
    {
        **WINDOWS,
        "after_tokens": SIZE,
        "kept_tokens": PLACE,
        "samples": SIZE,
        "permutations": SIZE,
    },
    {**LINE, "data_sha256": TEXT},
    {
        "by_prefix": Members(
            {"prefix_tokens": SIZE, "tokens": SIZE, "nats": NUMBER, "shuffled_nats": NUMBER}
        ),
        "by_eighth": Members({"eighth": SIZE, "tokens": SIZE, "nats": NUMBER}),
    },
)


def usable(value, kind):
    kinds, least = kind
    return type(value) in kinds and not (least is not None and value < least)


def problem(row):
    """Of what task it is."""
    its = row["problem"]
    known = all(usable(its.get(name), TEXT) for name in ("task", "variant", "scratchpad", "unit"))
    lengths = its.get("train_lengths")
    if not (known and usable(lengths, LIST) and [type(one) for one in lengths] == [int, int]):
        yield "problem"


def layers(row):
    """And of each length, which have distances if they are `against` another model's."""
    yield from problem(row)
    needed = {"layer": SIZE, "most_attended": AMOUNT}
    if row.get("against"):
        needed |= {"least_distance": AMOUNT, "matched_distance": AMOUNT}
    for one in (layer for bucket in row["by_length"] for layer in bucket["layers"] or [None]):
        its = one if isinstance(one, dict) else {}
        shares = its.get("most_attended_shares")
        if not (
            all(usable(its.get(name), kind) for name, kind in needed.items())
            and usable(shares, LIST)
            and [usable(share, AMOUNT) for share in shares] == [True] * PARTS
        ):
            yield "layers"


ANSWERS = Kind(
    "nopos-evaluate-answers",
    {"checkpoint": TEXT, "data": TEXT, "problem": ((dict,), None)},
    {**LINE, "data_sha256": TEXT},
    {
        "by_length": Members(
            {"length": PLACE, "questions": SIZE, "right": PLACE},
            lambda one: one["right"] <= one["questions"],
        )
    },
    problem,
)
ATTENTION = Kind(
    "nopos-attention",
    {"checkpoint": TEXT, "data": TEXT, "problem": ((dict,), None)},
    {**LINE, "data_sha256": TEXT, "against": TEXT},
    {
        "by_length": Members({"length": PLACE, "samples": SIZE, "layers": LIST}),
    },
    layers,
)
KINDS = {
    "nopos_plugin perplexity": PERPLEXITY,
    "nopos_plugin passkey": PASSKEY,
    "nopos_plugin probe": PROBE,
    "nopos_plugin shuffle": SHUFFLE,
    "nopos_plugin answers": ANSWERS,
    "nopos_plugin attention": ATTENTION,
}


def checked(rows, path):
    """`rows`, all the lines of the file at `path`, if the pictures can be drawn from them.

    Raises ValueError if there are none, or for the first that lacks what they need.
    """
    if not rows:
        raise ValueError(f"{path} holds no results")
    for number, row in enumerate(rows, start=1):
        kind = KINDS[row["result"]]
        for name in unusable(row, kind):
            raise ValueError(f"{path}, line {number}, has no usable {name}: not of {kind.command}")
    return rows


def unusable(row, kind):
    """Names of what is missing in a result, or is not what it should be."""
    for name, its in {**kind.needed, **dict.fromkeys(kind.lists, LIST)}.items():
        if not usable(row.get(name), its):
            yield name
    for name, its in kind.optional.items():
        if row.get(name) is not None and not usable(row[name], its):
            yield name
    for name, members in kind.lists.items():
        if not row[name] or not all(isinstance(one, dict) for one in row[name]):
            yield name
        for one in row[name]:
            for field, its in members.fields.items():
                if not usable(one.get(field), its):
                    yield f"{name}: {field}"
            if not members.sound(one):
                yield name
    yield from kind.others(row)
