"""evaluations/NAME/{results,passkey}.jsonl -> two tables and what is seen of the papers' claims.

    python report.py NAME...

Printed, and written to table.md.
"""

import json
import sys
from pathlib import Path

WINDOW, TARGET, LONGEST = 256, 2048, 4096


def read(name):
    """({length: perplexity}, {length: share of passkeys found}) of a model."""
    folder = Path("evaluations", name)
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    perplexity = {row["window_tokens"]: row["perplexity_per_token"] for row in rows}
    rows = [json.loads(line) for line in (folder / "passkey.jsonl").read_text().splitlines()]
    return perplexity, {row["length_tokens"]: row["accuracy"] for row in rows}


def table(title, lines, form):
    """Markdown: one line a model, one column a length."""
    lengths = sorted(next(iter(lines.values())))
    rows = [[title, *map(str, lengths)]]
    rows += [[name, *(form(line[n]) for n in lengths)] for name, line in lines.items()]
    return markdown(rows)


def markdown(rows):
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = [widths[0] * "-", *((width - 1) * "-" + ":" for width in widths[1:])]
    lines = [rows[0], rule, *rows[1:]]
    return "\n".join(
        "| "
        + " | ".join(
            fit(cell, width, n) for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in lines
    )


def fit(cell, width, column):
    return cell.rjust(width) if column else cell.ljust(width)


def number(value):
    """With two decimals, or without if it is large."""
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def claims(p, k):
    """(what is said, where, seen?, by what) of perplexities p[name][length] and passkeys k."""
    base, pose, full = p["base"], p["pose-linear-8"], p["full-linear-8"]
    plain, rand = p["plain-linear-8"], p["randpos-linear-8"]
    yield (
        "without extension perplexity explodes beyond the training length",
        "4.74 at 2k, over 1,000 from 4k on",
        base[TARGET] > 2 * base[WINDOW],
        f"{number(base[WINDOW])} at {WINDOW}, {number(base[TARGET])} at {TARGET}",
    )
    yield (
        "PoSE's perplexity falls up to the target length, 8 windows",
        "4.84 at 2k, 4.60 at 16k",
        pose[TARGET] < pose[WINDOW],
        f"{number(pose[WINDOW])} at {WINDOW}, {number(pose[TARGET])} at {TARGET}",
    )
    yield (
        "PoSE is as good as training at the target length (within 2 %)",
        "4.60 and 4.59 at 16k",
        pose[TARGET] < 1.02 * full[TARGET],
        f"{number(pose[TARGET])} and {number(full[TARGET])} at {TARGET}",
    )
    yield (
        "random positions (RandPos) are far worse",
        "15.16 against 4.60 at 16k",
        rand[TARGET] > 1.5 * pose[TARGET],
        f"{number(rand[TARGET])} against {number(pose[TARGET])}",
    )
    yield (
        "perplexity hardly tells PoSE from interpolation trained at short positions (within 5 %)",
        "asked by users of PoSE, issue 10",
        abs(plain[TARGET] / pose[TARGET] - 1) < 0.05,
        f"{number(plain[TARGET])} and {number(pose[TARGET])} at {TARGET}",
    )
    beyond = max(k["base"][n] for n in k["base"] if n > WINDOW)
    yield (
        "without extension no passkey is found beyond the training length",
        "0 beyond 2k",
        beyond < 0.05,
        f"{k['base'][WINDOW]:.0%} at {WINDOW}, at most {beyond:.0%} beyond",
    )
    for factor in (8, 16):
        found = {
            name: min(k[f"pose-{name}-{factor}"][n] for n in k["base"] if n <= factor * WINDOW)
            for name in ("linear", "ntk", "yarn")
        }
        yield (
            f"PoSE finds at least 90 % of passkeys up to {factor} windows (linear)",
            "at least 90 % up to 16k and 32k",
            found["linear"] >= 0.9,
            "at worst " + ", ".join(f"{name} {share:.0%}" for name, share in found.items()),
        )
    gap = k["pose-linear-8"][TARGET] - k["plain-linear-8"][TARGET]
    yield (
        "passkeys tell PoSE from interpolation trained at short positions",
        "not published",
        gap > 0.2,
        f"{k['pose-linear-8'][TARGET]:.0%} and {k['plain-linear-8'][TARGET]:.0%} at {TARGET}",
    )
    linear, ntk, yarn = (p[f"pose-{name}-16"] for name in ("linear", "ntk", "yarn"))
    yield (
        "at short lengths ntk and yarn lose less than linear, 16 windows",
        "8.04 and 9.32 against 16.90 at 32k of 128k",
        max(ntk[WINDOW], yarn[WINDOW]) < linear[WINDOW],
        f"{number(ntk[WINDOW])} and {number(yarn[WINDOW])} against {number(linear[WINDOW])}",
    )
    yield (
        "ntk rises before the target is reached, 16 windows",
        "8.04 at 32k, 34.80 at 128k",
        ntk[LONGEST] > 1.05 * min(ntk.values()),
        f"{number(ntk[WINDOW])} at {WINDOW}, {number(ntk[LONGEST])} at {LONGEST}",
    )
    yield (
        "yarn is the best of the three at the longest length, 16 windows",
        "11.33 against 31.18 and 34.80 at 128k",
        yarn[LONGEST] < min(linear[LONGEST], ntk[LONGEST]),
        f"{number(yarn[LONGEST])} against {number(linear[LONGEST])} and {number(ntk[LONGEST])}",
    )


def main(*models):
    read_all = {name: read(name) for name in models}
    perplexity = {name: one for name, (one, _) in read_all.items()}
    found = {name: one for name, (_, one) in read_all.items()}
    rows = [["claim", "published", "seen here", "by"]]
    for said, where, seen, by in claims(perplexity, found):
        rows.append([said, where, "yes" if seen else "no", by])
    made = "\n\n".join(
        [
            table("perplexity at length", perplexity, number),
            table("passkeys found at length", found, "{:.0%}".format),
            markdown(rows),
        ]
    )
    Path("table.md").write_text(made + "\n", "utf-8")
    print(f"\n{made}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
