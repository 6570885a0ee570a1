"""Results that differ in the training seed alone, as one: the mean, and from lowest to highest."""

import math
from statistics import mean

from nopos_plugin.plots import names
from nopos_plugin.plots.comparable import kind
from nopos_plugin.plots.rows import KINDS, PERPLEXITY


def over_seeds(rows):
    """`rows`, with one of nopos-evaluate for all seeds of what is the same but for them.

    Its perplexity is the mean, its `perplexity_range` the lowest and the highest; its losses by
    position are those of all seeds together. Raises ValueError for two checkpoints of one seed.
    """
    groups, others = {}, [row for row in rows if KINDS[row["result"]] is not PERPLEXITY]
    for row in rows:
        if KINDS[row["result"]] is not PERPLEXITY:
            continue
        size = row.get("parameters")
        key = (*names.line(row)[:-1], size, kind(row), row["window_tokens"])
        groups.setdefault(key, {}).setdefault(row.get("trained_seed"), []).append(row)
    return [*map(joined, groups.values()), *others]


def joined(seeds):
    """The row of {seed: [row]}."""
    for seed, members in seeds.items():
        checkpoints = {names.line(row)[-1] for row in members}
        if len(checkpoints) > 1:
            paths = ", ".join(sorted(row["checkpoint"] for row in members))
            raise ValueError(
                f"--over-seeds: {paths} are alike in all that results say and in the training "
                f"seed, {seed}: draw them without it, or leave one out"
            )
    rows = [members[0] for members in seeds.values()]
    values = [row.get("perplexity_per_token") for row in rows]
    finite = [math.inf if value is None else value for value in values]
    return {
        **rows[0],
        "checkpoint": "all seeds",
        "checkpoint_sha256": None,
        "perplexity_per_token": mean(finite) if max(finite) < math.inf else None,
        "perplexity_range": [min(finite), max(finite)] if len(rows) > 1 else None,
        "loss_by_position": together([row["loss_by_position"] for row in rows]),
    }


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
