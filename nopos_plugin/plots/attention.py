"""Pictures of nopos-attention: how far apart models attend, and how far back."""

import os
from typing import NamedTuple

from nopos_plugin.plots import names
from nopos_plugin.plots.panel import Curve, Panel
from nopos_plugin.plots.pictures import by_line, framed

DISTANCES = {"least_distance": "least over pairs", "matched_distance": "same number"}


class Kind(NamedTuple):
    """What the results of a panel have in common."""

    title: str
    about: str
    unit: str
    train: tuple[int, int]
    side: str = ""  # of two panels of the same results

    def source(self):
        return self.title, self.about


def divergence(rows):
    """({kind: panel}, ""): distances to another model by length, of `compared` rows.

    A point is the mean over samples and layers.
    """
    made = {}
    for key, lines in by_line(rows, grouped(rows)).items():
        sides = {
            name: [Curve(*look, by_length(some, name)) for look, some in lines]
            for name in DISTANCES
        }
        heights = [y for curves in sides.values() for curve in curves for _, y in curve.points]
        for name, curves in sides.items():
            lengths = sorted({x for curve in curves for x, _ in curve.points})
            made[key._replace(side=name)] = Panel(
                title=f"{key.title}, heads: {DISTANCES[name]}",
                about=key.about,
                x_label=f"length ({key.unit})",
                y_label="Jensen-Shannon distance",
                curves=curves,
                frame=framed([0, *heights]),
                ticks=[x for x in lengths if x in key.train or x == lengths[-1]],
                shaded=key.train,
                log_x=False,
            )
    return made, ""


def compared(rows):
    """Those that are compared with another model."""
    return [row for row in rows if row.get("against")]


def attended(rows):
    """({kind: panel}, ""): how far back the most attended token is, of all lengths: the mean by
    layer, and beside it of all layers how often it is so far (nearby, far, or both by turns).

    It is the same whatever a model is compared with.
    """
    once = {
        (names.line(row), row.get("parameters"), names.text(row), asked(row)): row for row in rows
    }
    rows = [{**row, "against": None} for row in once.values()]
    made = {}
    for key, lines in by_line(rows, grouped(rows)).items():
        curves = [Curve(*look, by_layer(some)) for look, some in lines]
        made[key] = Panel(
            title=f"{key.title}: the most attended token",
            about=key.about,
            x_label="layer",
            y_label="how far back (0: itself, 1: the first)",
            curves=curves,
            frame=(0, 1),
            ticks=sorted({x for curve in curves for x, _ in curve.points}),
            log_x=False,
        )
        curves = [Curve(*look, by_distance(some)) for look, some in lines]
        made[key._replace(side="how often")] = Panel(
            title=f"{key.title}: the most attended token",
            about=key.about,
            x_label="how far back (%; 0: itself, 100: the first)",
            y_label="queries of all layers (%)",
            curves=curves,
            frame=framed([0, *(y for curve in curves for _, y in curve.points)]),
            ticks=[0, 25, 50, 75, 100],
            log_x=False,
        )
    return made, ""


def grouped(rows):
    """{kind: rows}; one of a model that is compared with several is one of each."""
    found: dict[Kind, list] = {}
    for row in rows:
        problem, against = row["problem"], row.get("against")
        plain = problem["variant"] == "plain"
        kind = Kind(
            problem["task"] if plain else f"{problem['task']}, {problem['variant']}",
            about(row["data"], against),
            problem["unit"],
            tuple(problem["train_lengths"]),
        )
        found.setdefault(kind, []).append(row)
    return found


def about(data, against):
    """The data-bin, and the other model if there is one."""
    said = os.path.basename(os.path.normpath(data))
    return f"{said}, against {os.path.join(*against.split(os.sep)[-2:])}" if against else said


def alike(row):
    """What results of models that differ in the seed alone have in common."""
    against = row.get("against_position_encoding"), bool(row.get("against"))
    return names.text(row), *against, asked(row)


def asked(row):
    """How many samples of each length."""
    return tuple((one["length"], one["samples"]) for one in row["by_length"])


def by_length(rows, name):
    """[(length, mean over layers)]"""
    return sorted(
        (one["length"], sum(layer[name] for layer in one["layers"]) / len(one["layers"]))
        for row in rows
        for one in row["by_length"]
    )


def by_layer(rows):
    """[(layer, mean over samples)]"""
    layers = sorted({layer["layer"] for layer, _ in weighted(rows)})
    return [
        (number, over_samples([(one["most_attended"], n) for one, n in its]))
        for number in layers
        for its in [[(one, n) for one, n in weighted(rows) if one["layer"] == number]]
    ]


def by_distance(rows):
    """[(middle of a part of 0 to 100 %, percent of queries)], means over layers and samples."""
    shares = [(one["most_attended_shares"], n) for one, n in weighted(rows)]
    parts = len(shares[0][0])
    return [
        (100 * (part + 0.5) / parts, 100 * over_samples([(its[part], n) for its, n in shares]))
        for part in range(parts)
    ]


def weighted(rows):
    """[(layer of a length, its samples)]"""
    return [
        (layer, one["samples"])
        for row in rows
        for one in row["by_length"]
        for layer in one["layers"]
    ]


def over_samples(values):
    """The mean of (value, samples)s."""
    return sum(value * count for value, count in values) / sum(count for _, count in values)
