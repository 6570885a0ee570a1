"""results.jsonl -> a table, printed, and table.md beside it.

    python report.py results.jsonl bigram.json

Ends with an error unless every encoding, at the length that it was trained at, needs fewer bits per
byte than the bigrams of the text.
"""

import json
import sys
from pathlib import Path


def table(curves, trained):
    """Markdown: one line an encoding, one column a length, bits per byte."""
    lengths = sorted(next(iter(curves.values())))
    heads = [f"{length}, as trained" if length == trained else str(length) for length in lengths]
    rows = [["bits per byte at length", *heads]]
    rows += [[name, *(f"{curve[n]:.3f}" for n in lengths)] for name, curve in curves.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, [widths[0] * "-", *((width - 1) * "-" + ":" for width in widths[1:])])

    def line(row):
        first, *rest = zip(row, widths, strict=True)
        cells = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
        return "| " + " | ".join(cells) + " |"

    return "\n".join(map(line, rows))


def main(results, bigram):
    rows = [json.loads(line) for line in Path(results).read_text().splitlines()]
    mark = json.loads(Path(bigram).read_text())["mark"]
    (trained,) = {row["trained_tokens"] for row in rows}
    curves = {}  # {encoding: {length: bits per byte}}
    for row in rows:
        curve = curves.setdefault(row["position_encoding"], {})
        curve[row["window_tokens"]] = row["bits_per_byte"]
    lines = table(curves, trained)
    print(f"\n{lines}\n")
    Path(results).with_name("table.md").write_text(lines + "\n")
    above = [name for name, curve in curves.items() if not curve[trained] < mark]
    if above:
        sys.exit(
            f"report.py: not below the bigrams of the text ({mark:.3f} bits per byte) at length "
            f"{trained}: {', '.join(above)}. Train longer (UPDATES=5000) or on more text"
        )
    print(f"At length {trained} each is below the bigrams of the text, {mark:.3f} bits per byte.")


if __name__ == "__main__":
    main(*sys.argv[1:])
