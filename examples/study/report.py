"""results.jsonl -> tables, and the papers' claims beside what was seen: table.md and claims.md.

    PYTHONPATH=examples python report.py LENGTH NGRAM.json

LENGTH: tokens, in training. plain.jsonl and window.jsonl are the results of the sample without and
with an attention window, for pictures. Ends with an error unless every run is better, as trained,
than the n-grams of the text on the same split: the study is invalid then, and says so at the top.
"""

import json
import math
import sys
from pathlib import Path

from claim import side_by_side
from claims import Claims
from seen import PLAIN, SLIDING, SLIDING_WINDOW, WHOLE, WINDOW, Seen, how

from nopos_plugin.evaluation.markdown import table

TITLES = {
    PLAIN: "Perplexity without overlap: each window is a forward of its own",
    SLIDING: "Perplexity, sliding: over the last eighth of each window, the rest of it is context",
    WINDOW: "The same with an attention window of the training length, without overlap",
    SLIDING_WINDOW: "The same with an attention window of the training length, sliding",
}


def as_trained(seen, ngram):
    """The whole validation text at the training length, against the n-grams."""
    rows = [["as trained, whole validation text", "perplexity", "bits per byte", "3-grams"]]
    for name in seen.encodings():
        value = seen.get(name, WHOLE, seen.trained)
        bits = seen.get(name, WHOLE, seen.trained, "bits_per_byte")
        below = "better" if not behind(seen, name, ngram) else "NOT better"
        spread = f" ± {bits.spread:.3f}" * (bits.seeds > 1)
        rows.append([name, str(value), f"{bits.mean:.3f}{spread}", below])
    mark = math.exp(ngram["nats"] / ngram["tokens"])
    bits = ngram["nats"] / math.log(2) / bytes_of(seen)
    rows.append([f"{ngram['order']}-grams", f"{mark:.2f}", f"{bits:.3f}", "the mark"])
    bits = ngram["byte_5_grams_nats_per_byte"] / math.log(2)
    rows.append(["5-grams of bytes", "", f"{bits:.3f}", ""])
    return table(rows)


def bytes_of(seen):
    return next(row["bytes"] for row in seen.rows if row["targets"] == "all")


def behind(seen, name, ngram):
    """The seeds of an encoding whose run is no better than the n-grams."""
    rows = seen.values[name, WHOLE][seen.trained]
    if {row["tokens"] for row in rows.values()} != {ngram["tokens"]}:
        raise ValueError("the n-grams were measured on another text")
    return [seed for seed, row in rows.items() if not row["nats"] < ngram["nats"]]


def by_length(seen, measured):
    lengths = seen.lengths()
    rows = [["length", *(str(n) for n in lengths)]]
    for name in seen.encodings():
        values = [seen.get(name, measured, length) for length in lengths]
        rows.append([name, *(refused(name) if one is None else str(one) for one in values)])
    return table(rows)


def refused(name):
    """What stands where `name` has no result. Raises ValueError if it should have one."""
    if name != "learned":
        raise ValueError(f"results.jsonl: {name} lacks a length that others have")
    return "refused"


def read(name):
    """The rows of a file of results, none if it is not there."""
    path = Path(name)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main(length, ngram):
    seen = Seen("results.jsonl", int(length))
    ngram = json.loads(Path(ngram).read_text())
    losers = {name: behind(seen, name, ngram) for name in seen.encodings()}
    losers = [f"{name}-{seed}" for name, seeds in losers.items() for seed in seeds]
    invalid = losers and f"INVALID: not better than the n-grams of the text: {', '.join(losers)}"
    for name, ways in (("plain", (PLAIN, SLIDING)), ("window", (WINDOW, SLIDING_WINDOW))):
        lines = [json.dumps(row) + "\n" for row in seen.rows if how(row) in ways]
        Path(f"{name}.jsonl").write_text("".join(lines), "utf-8")
    parts = [as_trained(seen, ngram)]
    parts += [f"{TITLES[measured]}\n\n{by_length(seen, measured)}" for measured in TITLES]
    analyses = read("probe.jsonl"), read("shuffle.jsonl")
    claims = side_by_side(list(Claims(seen, *analyses).all()))
    for name, text in (("table.md", "\n\n".join(parts)), ("claims.md", claims)):
        text = f"**{invalid}**\n\n{text}" if invalid else text
        Path(name).write_text(text + "\n", "utf-8")
        print(f"\n{text}")
    if invalid:
        sys.exit(f"report.py: {invalid}. Train longer: UPDATES")


if __name__ == "__main__":
    main(*sys.argv[1:])
