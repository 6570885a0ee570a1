"""results.jsonl -> a table (printed, and table.md beside it) and a picture (results.png).

    python report.py results.jsonl

Ends with an error unless every encoding, at the length that it was trained at, needs fewer bits per
byte than the bigrams of the text.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

# Colour, dash and marker each tell the lines apart (colours: Okabe and Ito's).
STYLES = [
    ("#000000", "-", "o"),
    ("#D55E00", "--", "s"),
    ("#0072B2", "-", "^"),
    ("#009E73", "-.", "D"),
    ("#CC79A7", (0, (1, 1)), "v"),
    ("#E69F00", (0, (5, 1, 1, 1, 1, 1)), "P"),
]


def read(path):
    """{encoding: {length: bits per byte}}, (trained length, bigram bits per byte, text)"""
    results = [json.loads(line) for line in path.read_text().splitlines()]
    curves = {}
    for found in results:
        curves.setdefault(found["encoding"], {})[found["length_tokens"]] = found["bits_per_byte"]
    (shared,) = {
        (found["trained_length_tokens"], found["bigram_bits_per_byte"], found["text"])
        for found in results
    }
    return curves, shared


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


def leaving(curve, top):
    """The length at which `curve` rises above `top` on its way between two points, or None."""
    lengths = sorted(curve)
    for a, b in zip(lengths, lengths[1:], strict=False):
        if curve[a] <= top < curve[b]:
            return a * (b / a) ** ((top - curve[a]) / (curve[b] - curve[a]))
    return None


def draw(curves, trained, bigram, text, path):
    """Bits per byte over length. Where a line leaves the frame, an arrow says where it ends."""
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    lengths = sorted(next(iter(curves.values())))
    lowest = min(min(curve.values()) for curve in curves.values())
    top = bigram + 0.1 * (bigram - lowest)
    exits = []  # (length, what to say, colour)
    for (name, curve), (color, dash, marker) in zip(curves.items(), STYLES, strict=False):
        values = [curve[length] for length in lengths]
        axes.plot(lengths, values, color=color, linestyle=dash, marker=marker, label=name)
        if leaving(curve, top):
            exits.append((leaving(curve, top), f"{name}: {values[-1]:.2f} at {lengths[-1]}", color))
    axes.axhline(bigram, color="0.6", linewidth=1, label="bigrams of the text", zorder=0)
    axes.axvline(
        trained, color="0.6", linewidth=1, linestyle=":", label="length in training", zorder=0
    )
    for level, (length, words, color) in enumerate(reversed(sorted(exits))):
        height = 14 + 14 * level  # points
        arrow = {"arrowstyle": "<|-", "color": color, "shrinkA": 0, "shrinkB": 0}
        for shift, label, arrowprops in ((0, "", arrow), (4, words, None)):
            axes.annotate(
                label,
                (length, top),
                xytext=(shift, height),
                textcoords="offset points",
                arrowprops=arrowprops,
                color=color,
                fontsize=9,
            )
    axes.set_xscale("log", base=2)
    axes.set_xticks(lengths, map(str, lengths))
    axes.minorticks_off()
    axes.set_ylim(lowest - 0.08 * (top - lowest), top)
    axes.set_xlabel("length of the blocks, bytes")
    axes.set_ylabel("bits per byte")
    figure.suptitle(f"Trained at {trained} bytes, {text}", fontsize=11, parse_math=False)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path, dpi=150)


def main(path):
    path = Path(path)
    curves, (trained, bigram, text) = read(path)
    lines = table(curves, trained)
    print(f"\n{lines}\n")
    path.with_name("table.md").write_text(lines + "\n")
    draw(curves, trained, bigram, text, path.with_name("results.png"))
    above = [name for name, curve in curves.items() if not curve[trained] < bigram]
    if above:
        sys.exit(
            f"report.py: not below the bigrams of the text ({bigram:.3f} bits per byte) at length "
            f"{trained}: {', '.join(above)}. Train longer (UPDATES=5000) or on more text"
        )
    print(f"At length {trained} each is below the bigrams of the text, {bigram:.3f} bits per byte.")


if __name__ == "__main__":
    main(*sys.argv[1:])
