"""Pictures of nopos-probe and nopos-shuffle, as panels."""

import math
from typing import NamedTuple

from nopos_plugin.plots import names
from nopos_plugin.plots.corner import GREY
from nopos_plugin.plots.panel import Curve, Panel, number
from nopos_plugin.plots.pictures import by_line, framed, points, position_frame, trained
from nopos_plugin.plots.styles import Style

LABELS = 13  # of layers, at most
RANDOM = Style(GREY, "none", False, (0, (6, 4)))
PALE = "Pale: the controls, probes of the same states that were trained on shuffled labels."
BARS = "Bars: two standard errors of the difference to the same windows in order."


class Kind(NamedTuple):
    """What the results of a panel have in common."""

    text: str
    split: str
    length: int
    how: str
    side: str = ""  # of two panels of the same results

    def about(self, texts):
        return f"{texts[self.text]}, {self.split}" + f"; {self.how}" * bool(self.how)

    def source(self):
        return self._replace(side="")


def probe(rows):
    """({kind: panel}, note): the mean error of the probes, and of a random guess, by layer."""
    texts, made = names.texts(rows), {}
    for kind, lines in by_line(rows, grouped(rows, training)).items():
        chance = lines[0][1][0]["random_error_tokens"]
        probes, controls = (
            curves(lines, "layers", "layer", lambda one, field=field: one[field])
            for field in ("error_tokens", "control_error_tokens")
        )
        layers = sorted({x for curve in probes for x, _ in curve.points})
        guess = Curve(f"random, {number(chance)}", RANDOM, [(x, chance) for x in layers])
        made[kind] = Panel(
            title=f"position probes, windows of {kind.length}",
            about=kind.about(texts),
            x_label="layer (0 is the embedding)",
            y_label="mean absolute error (tokens)",
            curves=[*probes, guess],
            behind=controls,
            frame=framed([0, *heights([*probes, *controls, guess])]),
            ticks=layers[:: -(-len(layers) // LABELS)],
            log_x=False,
        )
    return made, PALE


def shuffle(rows):
    """({kind: panel}, note): bits a token after a prefix by its length, in order and shuffled."""
    texts, made = names.texts(rows), {}
    for kind, lines in by_line(rows, grouped(rows, prefixes)).items():
        sides = {
            side: curves(lines, "by_prefix", "prefix_tokens", bits(nats), errors)
            for side, nats, errors in (
                ("in order", "nats", None),
                ("shuffled", "shuffled_nats", two_standard_errors),
            )
        }
        both = [*sides["in order"], *sides["shuffled"]]
        sizes = sorted({x for curve in both for x, _ in curve.points})
        for side in sides:
            made[kind._replace(side=side)] = Panel(
                title=f"prefix {side}",
                about=kind.about(texts),
                x_label="prefix (tokens)",
                y_label="bits per token after it",
                curves=sides[side],
                frame=framed(heights(both)),
                ticks=sizes,
                trained=sorted(x for x in trained(lines) if x <= sizes[-1]),
            )
    return made, BARS * any(curve.ranges for panel in made.values() for curve in panel.curves)


def segments(rows):
    """({kind: panel}, ""): bits a token by eighth of the window."""
    texts, made = names.texts(rows), {}
    for kind, lines in by_line(rows, grouped(rows, lambda row: "")).items():
        eighths = curves(lines, "by_eighth", "eighth", bits("nats"))
        made[kind] = Panel(
            title=f"windows of {kind.length}, no overlap",
            about=kind.about(texts),
            x_label="eighth of the window",
            y_label="bits per token",
            curves=eighths,
            frame=position_frame(eighths),
            ticks=sorted({x for curve in eighths for x, _ in curve.points}),
            log_x=False,
        )
    return made, ""


def grouped(rows, how):
    """{kind: rows}, in the order of `rows`; how: row -> what else decides its numbers."""
    found = {}
    for row in rows:
        kind = Kind(names.text(row), row["split"], row["length_tokens"], how(row))
        found.setdefault(kind, []).append(row)
    return found


def training(row):
    """How probes were trained."""
    said = f"{row['updates']} updates of {row['batch_tokens']} tokens, lr {row['lr']:g}"
    split = f"on {row['train_split']}, " * (row["train_split"] != "train")
    return f"{split}{said}, seed {row['seed']}"


def prefixes(row):
    """What was shuffled and what was scored."""
    orders, tokens, kept = row["permutations"], row["after_tokens"], row["kept_tokens"]
    said = [f"{row['samples']} windows", f"{orders} order{'s' * (orders > 1)} of each"]
    said += [f"the last {kept} kept"] * (kept > 0)
    said += [f"{tokens} token{'s' * (tokens > 1)} after it", f"seed {row['seed']}"]
    return ", ".join(said)


def curves(lines, members, x, y, half=None):
    """A Curve a line: of each member of this list of its results the field x, and y(member).

    half: member -> half of the range around that, None where it is not known.
    """
    made = []
    for look, some in lines:
        found = [one for row in some for one in row[members]]
        known = [(one, half(one)) for one in found if half and half(one) is not None]
        ranges = dict.fromkeys((one[x], y(one) - more, y(one) + more) for one, more in known)
        made.append(Curve(*look, points((one[x], y(one)) for one in found), tuple(ranges)))
    return made


def two_standard_errors(one):
    """In bits a token, of what it costs to shuffle a prefix; None of a single window."""
    error = one.get("difference_standard_error_nats_per_token")
    return None if error is None else 2 * error / math.log(2)


def bits(nats):
    """A function: member -> bits a token of its field `nats`."""
    return lambda one: one[nats] / one["tokens"] / math.log(2)


def heights(some):
    ends = [y for curve in some for _, *bar in curve.ranges for y in bar]
    return [y for curve in some for _, y in curve.points] + ends
