"""The losses of all targets of a text: each scored once, or the evaluation fails."""

import math

import torch

from nopos_plugin.evaluation.scorer import nats


class Losses:
    """Of a text of `length` targets: nats (length,) float32, and how often each was scored."""

    def __init__(self, length):
        self.nats = torch.zeros(length)
        self.times = torch.zeros(length, dtype=torch.uint8)

    def put(self, start, values):
        """Losses of the targets from `start` on."""
        targets = slice(start, start + len(values))
        self.nats[targets] += values
        self.times[targets] += 1

    def add_up(self):
        """Take in what the other processes scored; each target was 0 in all but one."""
        for values in (self.nats, self.times):
            torch.distributed.all_reduce(values)


def score(model, dataset, batches, losses, device):
    """Score the `batches` of the windows of `dataset` into `losses`; yields the windows of each.

    Raises ValueError for a loss that is infinite or no number, and names the window.
    """
    for sample in batches:
        indices = sample["id"].tolist()
        values = nats(model, on(sample, device), dataset.dictionary.pad()).float().cpu()
        for index in indices:
            start, stop = dataset.scored(index)
            mine, values = values[: stop - start], values[stop - start :]
            if not mine.isfinite().all():
                worst = start + int((~mine.isfinite()).int().argmax())
                raise ValueError(
                    f"the loss of token {worst} is {mine[worst - start]:g}, in window {index} "
                    f"(tokens {start} to {stop - 1} scored): no perplexity"
                )
            losses.put(start, mine)
        yield indices


def on(sample, device):
    """The batch on `device`."""
    inputs = {name: x.to(device) for name, x in sample["net_input"].items()}
    return {**sample, "net_input": inputs, "target": sample["target"].to(device)}


def positions(dataset):
    """Where in its window each target is scored, (length,) int32; -1: not at all."""
    places = torch.full((len(dataset.text),), -1, dtype=torch.int32)
    for index in range(len(dataset)):
        begin, window = dataset.window(index)
        place = torch.arange(window.scored - window.start, window.stop - window.start)
        places[begin + window.scored : begin + window.stop] = place.int()
    return places


def summary(losses, places):
    """Sums in float64, all and by position, as fields of a result.

    Raises RuntimeError if a target was not scored once.
    """
    wrong = losses.times != (places >= 0)
    if wrong.any():
        target = int(wrong.int().argmax())
        raise RuntimeError(f"token {target} was scored {int(losses.times[target])} times")
    scored = places >= 0
    values, places = losses.nats[scored].double(), places[scored]
    tokens, total = len(values), values.sum().item()
    return {
        "tokens": tokens,
        "nats": total,
        "nats_per_token": total / tokens,
        "bits_per_token": total / tokens / math.log(2),
        "perplexity_per_token": exp(total / tokens),
        "loss_by_position": by_position(values, places),
    }


def exp(nats_per_token):
    """e to that power, or None where no float holds it."""
    return math.exp(nats_per_token) if nats_per_token < 709 else None


def by_position(values, places):
    """[{from, to, tokens, nats}]: the targets `from`, ..., `to` - 1 of their windows.

    The first of a window is 0; then 1, 2 and 3, 4 to 7, ...
    """
    edges = torch.tensor([0, *(2**n for n in range(32))])
    bucket = torch.bucketize(places.long(), edges, right=True) - 1
    tokens = torch.bincount(bucket)
    nats_of = torch.bincount(bucket, weights=values)
    return [
        {"from": int(edges[n]), "to": int(edges[n + 1]), "tokens": count, "nats": nats_of[n].item()}
        for n, count in enumerate(tokens.tolist())
        if count
    ]
