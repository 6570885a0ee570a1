"""What results.jsonl of the study holds: by encoding, how it was measured, and length."""

import json
import math
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

WHOLE, PLAIN, SLIDING = "whole", "no overlap", "sliding"
WINDOW, SLIDING_WINDOW = "no overlap, attention window", "sliding, attention window"


class Value(NamedTuple):
    """Over seeds."""

    mean: float
    spread: float  # standard deviation, NaN of one seed
    seeds: int

    def __str__(self):
        return number(self.mean) + (f" ± {number(self.spread)}" if self.seeds > 1 else "")


def number(value):
    """With two decimals, without if it is large."""
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def how(row):
    """Which of the ways above."""
    if row["targets"] == "all":
        return WHOLE
    sliding = row["stride_tokens"] < row["window_tokens"]
    if "attention_window" in row["model_overrides"]:
        return SLIDING_WINDOW if sliding else WINDOW
    return SLIDING if sliding else PLAIN


class Seen:
    """The results in the file at `path`, of models that were trained at `trained` tokens."""

    def __init__(self, path, trained):
        self.trained = trained
        self.rows = [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]
        self.values = {}  # {(encoding, how): {length: {seed: row}}}
        for row in self.rows:
            key = row["position_encoding"], how(row)
            lengths = self.values.setdefault(key, {})
            lengths.setdefault(row["window_tokens"], {})[row["trained_seed"]] = row
        for name in self.encodings():  # with a window as long as the text it makes no difference
            for plain, window in ((PLAIN, WINDOW), (SLIDING, SLIDING_WINDOW)):
                shortest = self.values[name, plain][trained]
                self.values.setdefault((name, window), {})[trained] = shortest

    def encodings(self):
        return list(dict.fromkeys(name for name, _ in self.values))

    def lengths(self):
        return sorted({length for some in self.values.values() for length in some})

    def get(self, encoding, measured, length, field="perplexity_per_token"):
        """A Value, or None where nothing was measured."""
        rows = self.values.get((encoding, measured), {}).get(length)
        if rows is None:
            return None
        found = [math.inf if row[field] is None else row[field] for row in rows.values()]
        return Value(mean(found), stdev(found) if len(found) > 1 else math.nan, len(found))

    def logs(self, encoding, measured, length):
        """ln perplexity, {seed: nats}."""
        rows = self.values[encoding, measured][length]
        return {seed: row["nats_per_token"] for seed, row in rows.items()}
