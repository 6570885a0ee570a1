"""results.jsonl, attention.jsonl -> tables, and the paper's claims beside what was seen.

table.md and claims.md:

PYTHONPATH=examples python report.py
"""

import json
from pathlib import Path
from statistics import mean

from claim import side_by_side
from claims import Claims

from nopos_plugin.cli import rank
from nopos_plugin.evaluation.markdown import table

LEARNED = 0.95  # of the answers at trained lengths


def read(name):
    return [json.loads(line) for line in Path(name).read_text("utf-8").splitlines()]


def as_trained(runs):
    """Right answers at trained lengths, the mean over seeds."""
    tasks = list(dict.fromkeys(run.task for run in runs))
    rows = [["right at trained lengths (%)", *tasks]]
    for name in dict.fromkeys(run.encoding for run in runs):
        cells = []
        for task in tasks:
            found = [run.learned for run in runs if (run.encoding, run.task) == (name, task)]
            cells.append(f"{100 * mean(found):.1f}" if found else "")
        rows.append([name, *cells])
    return table(rows)


def main():
    runs = rank.runs([("results.jsonl", row) for row in read("results.jsonl")])
    texts = {
        "table.md": f"{rank.report(runs, LEARNED)}\n\n{as_trained(runs)}",
        "claims.md": side_by_side(list(Claims(runs, read("attention.jsonl"), LEARNED).all())),
    }
    for name, text in texts.items():
        Path(name).write_text(text + "\n", "utf-8")
        print(f"\n{text}")


if __name__ == "__main__":
    main()
