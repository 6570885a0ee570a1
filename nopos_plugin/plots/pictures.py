"""Pictures of nopos-evaluate, as panels: perplexity against length, and loss against position."""

import math

from nopos_plugin.plots import names
from nopos_plugin.plots.comparable import panels
from nopos_plugin.plots.panel import Curve, Panel
from nopos_plugin.plots.styles import styles

REACH = 1.5  # up to so many times the best perplexity of each line is in the frame,
NEAR = 4  # but for lines whose best is over so many times the best of all
MARGIN = 0.06  # of the frame, below the lowest point and above the highest


def perplexity(rows):
    """({kind: panel}, ""): perplexity a token against the length of the windows."""
    texts, members = names.texts(rows), by_line(rows, panels(rows))
    curves = {
        kind: [
            Curve(*look, points((reach(row), value(row)) for row in some), ranges(some))
            for look, some in lines
        ]
        for kind, lines in members.items()
    }
    return {
        kind: Panel(
            title=kind.title(),
            about=kind.about(texts),
            x_label="window (tokens)",
            y_label="perplexity per token",
            curves=curves[kind],
            frame=perplexity_frame(  # of the same targets, the same frame
                [
                    curve
                    for other in curves
                    if (other.source(), other.targets) == (kind.source(), kind.targets)
                    for curve in curves[other]
                ]
            ),
            log_y=True,
            ticks=sorted({x for curve in curves[kind] for x, _ in curve.points} | trained(lines)),
            trained=sorted(trained(lines)),
        )
        for kind, lines in members.items()
    }, ""


def position(rows):
    """({kind: panel}, note): bits a token against the position in the longest windows.

    Where all lines are one point, since all targets are near the end of their window, there is
    no panel, unless there is no other; the note says so.
    """
    texts, made = names.texts(rows), {}
    for kind, lines in by_line(rows, panels(rows)).items():
        longest = [max(row["window_tokens"] for row in some) for _, some in lines]
        curves = [
            Curve(
                name if window == max(longest) else f"{name}, windows of {window}",
                style,
                points(
                    place
                    for row in some
                    if row["window_tokens"] == window
                    for place in by_position(row)
                ),
            )
            for ((name, style), some), window in zip(lines, longest, strict=True)
        ]
        made[kind] = Panel(
            title=f"{kind.title()}, windows of {max(longest)}",
            about=kind.about(texts),
            x_label="position in the window (1 is the first)",
            y_label="bits per token",
            curves=curves,
            frame=position_frame(curves),
            ticks=[4**n for n in range(16) if 4**n <= max(longest)],
            trained=sorted(trained(lines)),
        )
    single = [kind for kind in made if all(len(one.points) < 2 for one in made[kind].curves)]
    if len(single) == len(made):
        return made, ""
    left_out = [f"{kind.title()} ({made.pop(kind).about})" for kind in single]
    return made, "; ".join(left_out) and f"Not drawn, a point each: {'; '.join(left_out)}"


def by_line(rows, grouped):
    """{kind: [((name, style), rows)]}: the lines of each panel, alike on all of them.

    grouped: {kind: rows}, those of each panel.
    """
    found, lines = {}, names.lines(rows)
    looks = styles(lines)
    for kind, group in grouped.items():
        members = {}
        for row in group:
            members.setdefault(names.line(row), []).append(row)
        found[kind] = [
            ((lines[line], looks[line]), members[line]) for line in lines if line in members
        ]
    return found


def points(pairs):
    """By x; what is there twice, from two files, is one point."""
    return sorted(dict.fromkeys(pairs), key=lambda point: point[0])


def ranges(rows):
    """(length, lowest, highest) perplexity of those that are the mean of several seeds."""
    return tuple(
        (reach(row), *row["perplexity_range"]) for row in rows if row.get("perplexity_range")
    )


def reach(row):
    """The length of its longest window: documents may be shorter than what was asked for."""
    return min(row["window_tokens"], row.get("longest_window_tokens") or row["window_tokens"])


def value(row):
    """Its perplexity, NaN for none."""
    found = row.get("perplexity_per_token")
    return math.nan if found is None else found


def by_position(row):
    """(position, bits a token) of its buckets: in the middle of each on a logarithmic axis."""
    for bucket in row["loss_by_position"]:
        last = min(bucket["to"], row["window_tokens"])
        bits = bucket["nats"] / bucket["tokens"] / math.log(2)
        yield math.sqrt((bucket["from"] + 1) * last), bits


def trained(lines):
    """The lengths that they were trained on, where that is known."""
    return {row["trained_tokens"] for _, some in lines for row in some if row.get("trained_tokens")}


def perplexity_frame(curves):
    """Up to REACH times the best of each line, those aside that are nowhere NEAR the others."""
    finite = [[y for _, y in curve.points if math.isfinite(y)] for curve in curves]
    best = [min(values) for values in finite if values]
    if not best:
        return 1, 10
    most = REACH * max(y for y in best if y <= NEAR * min(best))
    inside = [math.log(y) for values in finite for y in values if y <= most]
    return tuple(map(math.exp, framed(inside)))


def position_frame(curves):
    """At each position up to 1 bit more than the best of the lines."""
    best = {}
    for x, y in (point for curve in curves for point in curve.points):
        if math.isfinite(y):
            best[x] = min(y, best.get(x, y))
    inside = [
        y for curve in curves for x, y in curve.points if math.isfinite(y) and y <= best[x] + 1
    ]
    return framed(inside) if inside else (0, 1)


def framed(values):
    """Lowest and highest, with a margin."""
    low, high = min(values), max(values)
    margin = MARGIN * (high - low) or 0.01
    return low - margin, high + margin
