"""Results that differ in the training seed alone, as one: the mean, and from lowest to highest."""

import math
from statistics import mean

from nopos_plugin.plots import answers, attention, comparable, names
from nopos_plugin.plots.rows import ANSWERS, ATTENTION, KINDS, PERPLEXITY

ALL = {"checkpoint": "all seeds", "checkpoint_sha256": None}


def over_seeds(rows):
    """`rows`, with one for all seeds of what is the same but for them, where seeds can be joined.

    Of nopos-evaluate: its perplexity is the mean, its `perplexity_range` the lowest and the
    highest; its losses by position are those of all seeds together. Of nopos-evaluate-answers: its
    answers by length are those of all seeds together, `range` the shares of the least and the most
    that are right. Of nopos-attention: means, `against` all models of that encoding. Raises
    ValueError for two checkpoints of one seed.
    """
    groups, others = {}, []
    for row in rows:
        for kind, alike, join in JOINS:
            if KINDS[row["result"]] is kind:
                key = (*names.line(row)[:-1], row.get("parameters"), alike(row))
                seeds = groups.setdefault((join, key), {})
                seeds.setdefault(row.get("trained_seed"), []).append(row)
                break
        else:
            others.append(row)
    return [*(join(one_each(seeds)) for (join, _), seeds in groups.items()), *others]


def one_each(seeds):
    """The first row of each of {seed: [row]}, all of one checkpoint."""
    for seed, members in seeds.items():
        checkpoints = {names.line(row)[-1] for row in members}
        if len(checkpoints) > 1:
            paths = ", ".join(sorted(row["checkpoint"] for row in members))
            raise ValueError(
                f"--over-seeds: {paths} are alike in all that results say and in the training "
                f"seed, {seed}: draw them without it, or leave one out"
            )
    return [members[0] for members in seeds.values()]


def perplexities(rows):
    """The row of all seeds."""
    values = [row.get("perplexity_per_token") for row in rows]
    finite = [math.inf if value is None else value for value in values]
    return {
        **rows[0],
        **ALL,
        "perplexity_per_token": mean(finite) if max(finite) < math.inf else None,
        "perplexity_range": [min(finite), max(finite)] if len(rows) > 1 else None,
        "loss_by_position": together([row["loss_by_position"] for row in rows]),
    }


def accuracies(rows):
    """The row of all seeds."""
    by_seed = [answers.shares(row["by_length"]) for row in rows]
    buckets = []
    for length in sorted(set().union(*by_seed)):
        its = [one for row in rows for one in row["by_length"] if one["length"] == length]
        sums = {name: sum(one[name] for one in its) for name in ("right", "questions")}
        seen = [shares[length] for shares in by_seed if length in shares]
        buckets.append({"length": length, **sums, "range": [min(seen), max(seen)]})
    return {**rows[0], **ALL, "by_length": buckets}


def attentions(rows):
    """The row of all seeds."""
    parts = [row["by_length"] for row in rows]
    buckets = [
        {
            **its[0],
            "layers": [
                averaged(layers) for layers in zip(*(one["layers"] for one in its), strict=True)
            ],
        }
        for its in zip(*parts, strict=True)
    ]
    against = rows[0].get("against") and (rows[0].get("against_position_encoding") or "stock")
    return {**rows[0], **ALL, "against": against, "by_length": buckets}


def averaged(layers):
    """The mean of each number of a layer, and of each in a list."""
    means = {
        name: [*map(mean, zip(*(one[name] for one in layers), strict=True))]
        if isinstance(value, list)
        else mean(one[name] for one in layers)
        for name, value in layers[0].items()
    }
    return {**means, "layer": layers[0]["layer"]}


def together(parts):
    """Buckets of the same positions, added up."""
    found = {}
    for bucket in (bucket for part in parts for bucket in part):
        place = bucket["from"], bucket["to"]
        tokens, nats = found.get(place, (0, 0.0))
        found[place] = tokens + bucket["tokens"], nats + bucket["nats"]
    return [
        {"from": begin, "to": end, "tokens": tokens, "nats": nats}
        for (begin, end), (tokens, nats) in sorted(found.items())
    ]


# of what results, what those of one line have in common, and how they are joined
JOINS = (
    (PERPLEXITY, lambda row: (comparable.kind(row), row["window_tokens"]), perplexities),
    (ANSWERS, answers.kind, accuracies),
    (ATTENTION, attention.alike, attentions),
)
