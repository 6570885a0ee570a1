"""The picture of nopos-evaluate-answers: accuracy against length, by task."""

from typing import NamedTuple

from nopos_plugin.plots import names
from nopos_plugin.plots.panel import Curve, Panel
from nopos_plugin.plots.pictures import by_line

FRAME = -4, 104  # percent


class Kind(NamedTuple):
    """What the results of a panel have in common."""

    task: str
    variant: str
    scratchpad: str
    unit: str
    train: tuple[int, int]
    text: str

    def source(self):
        return ""

    def title(self):
        return self.task if self.variant == "plain" else f"{self.task}, {self.variant}"

    def about(self):
        said = "trained on {} to {} {}".format(*self.train, self.unit)
        return said + f", scratchpad {self.scratchpad}" * bool(self.scratchpad)


def answers(rows):
    """({kind: panel}, ""): the share of right answers, the training range shaded."""
    grouped: dict[Kind, list] = {}
    for row in rows:
        grouped.setdefault(kind(row), []).append(row)
    made = {}
    for key, lines in by_line(rows, grouped).items():
        curves = [Curve(*look, *accuracies(some)) for look, some in lines]
        lengths = sorted({x for curve in curves for x, _ in curve.points})
        made[key] = Panel(
            title=key.title(),
            about=key.about(),
            x_label=f"length ({key.unit})",
            y_label="right answers (%)",
            curves=curves,
            frame=FRAME,
            ticks=[x for x in lengths if x in key.train or x == lengths[-1]],
            shaded=key.train,
            log_x=False,
        )
    return made, ""


def kind(row):
    problem = row["problem"]
    words = (problem[name] for name in ("task", "variant", "scratchpad", "unit"))
    return Kind(*words, tuple(problem["train_lengths"]), names.text(row))


def accuracies(rows):
    """(points, ranges) of a Curve: percent by length, of all rows together."""
    buckets = [bucket for row in rows for bucket in row["by_length"]]
    points = [(length, 100 * share) for length, share in shares(buckets).items()]
    ranges = [
        (bucket["length"], *(100 * end for end in bucket["range"]))
        for bucket in buckets
        if "range" in bucket and bucket["range"][0] < bucket["range"][1]
    ]
    return points, tuple(ranges)


def shares(buckets):
    """{length: share of right answers}, shortest first, of all buckets of a length together."""
    sums: dict[int, list[int]] = {}
    for bucket in buckets:
        its = sums.setdefault(bucket["length"], [0, 0])
        its[0] += bucket["right"]
        its[1] += bucket["questions"]
    return {length: right / asked for length, (right, asked) in sorted(sums.items())}
