"""Results as tables, for people."""

from nopos_plugin.benchmark.candidates import FLOOR

PASSES = {"forward": "forward", "forward_backward": "forward + backward"}
STRAY = "the median of the rounds, and ± how far they stray from it"
BUDGET, NEEDS = "budget", "needs "


def attention_tables(rows):
    """Time of both passes, and memory if it was measured: a line a pair, a column a length."""
    columns = list(dict.fromkeys((row["length"], row["batch"]) for row in rows))
    lines = {}  # pair -> {column: row}; the kernels of an encoding are neighbours
    for row in sorted(rows, key=lambda row: (row["kernel"] != FLOOR, row["encoding"] or "")):
        pair = row["encoding"] or "", row["kernel"]
        lines.setdefault(pair, {})[row["length"], row["batch"]] = row

    def table(title, cell):
        head = ["encoding", "kernel", *(f"T={length} B={batch}" for length, batch in columns)]
        body = [
            [name, kernel_cell(kernel, line), *(cell(line[column]) for column in columns)]
            for (name, kernel), line in lines.items()
        ]
        return f"{title}\n{aligned([head, *body])}\n"

    made = [
        table(f"{title}, as a ratio to the floor", lambda row, each=each: time_cell(row, each))
        for each, title in PASSES.items()
    ]
    if any(row["peak_extra_bytes"] or row["peak_not_measured"] for row in rows):
        made.append(table("peak extra memory of a forward + backward, MiB", memory_cell))
    floor = "floor: PyTorch's fused causal attention, without an encoding"
    return "\n".join([*made, floor, STRAY, *notes(rows)])


def kernel_cell(kernel, line):
    """The kernel; of `auto` with those that served."""
    served = dict.fromkeys(row["served"] for row in line.values() if row["served"])
    served.pop(kernel, None)
    return f"{kernel} ({'|'.join(served)})" if served else kernel


def time_cell(row, each):
    if row["not_run"]:
        return reason_cell(row["not_run"])
    ratio = row[f"{each}_ratio"]
    if row["kernel"] == FLOOR:
        seconds = row[f"{each}_seconds"]
        return f"{1000 * seconds['median']:.1f} ms {plus_minus(seconds)}"
    return f"{ratio['median']:.2f} {plus_minus(ratio)}"


def memory_cell(row):
    if row["peak_extra_bytes"] is not None:
        return f"{row['peak_extra_bytes'] / 2**20:.0f}"
    return reason_cell(row["not_run"] or row["peak_not_measured"] or "")


def reason_cell(reason):
    return reason if reason == BUDGET or reason.startswith(NEEDS) else "see below"


def train_table(rows):
    """A line a pair: speed and memory, and both beside the first one, nopos."""
    head = "encoding kernel tokens/s ± ratio ± peak_MiB ratio rounds".split()
    base = rows[0]["peak_resident_bytes"]
    body = []
    for row in [rows[0], *sorted(rows[1:], key=lambda row: row["encoding"])]:
        cells = [row["encoding"], row["kernel"]]
        if row["tokens_per_second"] is None:
            cells.append(reason_cell(row["not_run"]) if row["not_run"] else "failed")
        else:
            for key, form in (("tokens_per_second", ".0f"), ("tokens_per_second_ratio", ".2f")):
                found = row[key]
                cells += [format(found["median"], form), plus_minus(found)] if found else ["", ""]
            peak = row["peak_resident_bytes"]
            cells += [f"{peak / 2**20:.0f}", f"{peak / base:.2f}" if base else ""]
            cells.append(str(row["rounds"]))
        body.append(cells + [""] * (len(head) - len(cells)))
    title = "whole updates of fairseq-train; ratios to the first line"
    return "\n".join([title, aligned([head, *body]), "", STRAY, *notes(rows), *failures(rows)])


def extension_table(rows):
    """A line a candidate: seconds of an update and memory, and both beside windows as they are."""
    head = "how target tokens s/update ± ratio peak_MiB ratio rounds".split()
    first, base = rows[0]["update_seconds"], rows[0]["peak_resident_bytes"]
    body = []
    for row in rows:
        cells = [row["how"], str(row["target"]), str(row["sample"])]
        found = row["update_seconds"]
        if found is None:
            cells.append(reason_cell(row["not_run"]) if row["not_run"] else "failed")
        else:
            ratio, peak = (
                found["median"] / first["median"] if first else None,
                row["peak_resident_bytes"],
            )
            cells += [f"{found['median']:.2f}", plus_minus(found), f"{ratio:.2f}" if ratio else ""]
            cells += [
                f"{peak / 2**20:.0f}",
                f"{peak / base:.2f}" if base else "",
                str(row["rounds"]),
            ]
        body.append(cells + [""] * (len(head) - len(cells)))
    named = [{**row, "encoding": row["how"], "kernel": str(row["target"])} for row in rows]
    title = "whole updates of fairseq-train, one sample each; ratios to the first line"
    return "\n".join([title, aligned([head, *body]), "", STRAY, *notes(named), *failures(named)])


def eval_table(rows):
    """A line a softmax, window and stride: seconds of both, and how many times ours stock takes."""
    batches = list(dict.fromkeys(str(batch) for row in rows for batch in row["batch_sizes"]))
    head = ["softmax", "types", "window", "stride", "tokens", *(f"B={batch}" for batch in batches)]
    head += "ours stock/ours ± loss_differs".split()
    body = []
    for row in rows:
        cells = [row["softmax"], *(str(row[key]) for key in head[1:5])]
        for batch in batches:
            found, best = row["stock_seconds"].get(batch), str(row["stock_batch_size"]) == batch
            if found:
                cells.append(f"{found['median']:.2f}{'*' if best else ' '}")
            else:
                cells.append(row["stock_not_run"].get(batch, "failed"))
        ours, ratio, differs = row["our_seconds"], row["ratio"], row["relative_difference"]
        cells.append(f"{ours['median']:.2f}" if ours else row["not_run"] or "failed")
        cells += [f"{ratio['median']:.2f}", plus_minus(ratio)] if ratio else ["", ""]
        cells.append("" if differs is None else f"{differs:.0e}")
        body.append(cells)
    title = (
        "seconds of fairseq-eval-lm at its batch sizes B, the best of which is marked *, and of "
        "nopos-evaluate"
    )
    return "\n".join([title, aligned([head, *body]), "", STRAY, *eval_notes(rows)])


def eval_notes(rows):
    """Sentences on the cells that are no numbers, and on what failed."""
    reasons = [why for row in rows for why in row["stock_not_run"].values()]
    if BUDGET in [*reasons, *(row["not_run"] for row in rows)]:
        yield "budget: not run, since --budget-minutes had no room for it"
    if any(why.startswith(NEEDS) for why in reasons):
        yield "needs N GiB: not run, since this is more than --memory-share of the machine's memory"
    for row in rows:
        if row["failed"]:
            where = f"{row['softmax']} softmax, window {row['window']}, stride {row['stride']}"
            yield f"\n{where}: {row['failed']['reason']}"
            yield from (f"    {line}" for line in row["failed"]["last_lines"])


def notes(rows):
    """Sentences on the cells that are no numbers."""
    reasons = {}  # what it says -> the pairs it is said of
    for row in rows:
        for reason in filter(None, (row["not_run"], row.get("peak_not_measured"))):
            reasons.setdefault(reason, {})[who(row)] = None
    if BUDGET in reasons:
        yield "budget: not run, since --budget-minutes had no room for it"
    if any(reason.startswith(NEEDS) for reason in reasons):
        yield "needs N GiB: not run, since this is more than --memory-share of the machine's memory"
    for reason, pairs in reasons.items():
        if reason_cell(reason) != reason:
            yield f"{', '.join(pairs)}: {reason}"


def failures(rows):
    """What failed trainings said last."""
    for row in rows:
        if row["failed"]:
            status, lines = row["failed"]["exit_status"], row["failed"]["last_lines"]
            yield f"\n{who(row)} failed with exit status {status}; its log ends"
            yield from (f"    {line}" for line in lines)


def who(row):
    return f"{row['encoding'] or ''} {row['kernel']}".strip()


def aligned(rows):
    """Lines of text, in columns; the first two begin at the same place, the others end there."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number < 2 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def plus_minus(spread):
    """How far the range goes from the median, as a share of it."""
    furthest = max(spread["max"] - spread["median"], spread["median"] - spread["min"])
    return f"±{100 * furthest / spread['median']:.0f}%"
