"""The results of `preparation` as a table, for people."""

from nopos_plugin.benchmark.tables import BUDGET, STRAY, aligned, plus_minus


def data_table(rows):
    """A line a number of copies: rates of both routes, parts of the classic one, and memory."""
    head = "route copies MiB_of_text documents/s tokens/s seconds peak_MiB ours/classic ± rounds"
    body = []
    for row in sorted(rows, key=lambda row: row["classic_seconds"] is None)[:1]:
        body.append(data_cells(row, "classic", row["copies"], ["", "", str(row["rounds"])]))
    for row in rows:
        ratio = row["ratio"]
        last = [f"{ratio['median']:.1f}", plus_minus(ratio)] if ratio else ["", ""]
        body.append(data_cells(row, "our", 1, [*last, str(row["rounds"])]))
    steps = next((row["classic_step_seconds"] for row in rows if row["classic_seconds"]), {})
    parts = [f"{step} {found['median']:.1f}" for step, found in steps.items()]
    notes = ["peak: memory of all processes at once; ours with more copies shows if it grows"]
    if parts:
        notes.append(f"classic, seconds: {', '.join(parts)}; text is not counted")
    return "\n".join([aligned([head.split(), *body]), "", STRAY, *notes, *data_notes(rows)])


def data_cells(row, whose, parts, last):
    """A line; parts: how many times the text of `row` is that of the route."""
    title = {"our": "nopos-prepare-pile", "classic": "classic"}[whose]
    seconds, peak = row[f"{whose}_seconds"], row[f"{whose}_peak_bytes"]
    cells = [title, str(row["copies"] // parts)]
    if seconds is None:
        reason = row["not_run"] or "failed"
        return [*cells, reason, *[""] * 7]
    size = f"{row['bytes'] / parts / 2**20:.0f}" if row["bytes"] else ""
    speeds = [row[f"{whose}_{what}_per_second"] for what in ("documents", "tokens")]
    cells += [size, *(f"{one['median']:,.0f}" if one else "" for one in speeds)]
    return [*cells, f"{seconds['median']:.1f}", f"{peak / 2**20:.0f}" if peak else "", *last]


def data_notes(rows):
    """Sentences on the cells that are no numbers, and on what failed."""
    if any(row["not_run"] == BUDGET for row in rows):
        yield "budget: not run, since --budget-minutes had no room for it"
    for row in rows:
        if row["failed"]:
            yield f"\ncopies {row['copies']}: {row['failed']['reason']}"
            yield from (f"    {line}" for line in row["failed"]["last_lines"])
