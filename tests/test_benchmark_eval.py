"""nopos-benchmark eval: what it times, what it compares, and what it says of it."""

import ast
import json
import re
from pathlib import Path

import pytest
import torch
from command import run as run_python

from nopos_plugin.benchmark import comparison, evaluation, memory, scoring, subject
from nopos_plugin.benchmark.budget import Budget
from nopos_plugin.cli.benchmark import main

SMALL = (
    *("--layers", 1, "--dim", 32, "--heads", 2, "--types", 90, "--adaptive-types", 300),
    *("--cutoffs", "50,120", "--windows", 16, "--strides", 4, "--tokens", 30, "--threads", 1),
)


def run(tmp_path, *arguments):
    """Exit status of nopos-benchmark eval, and its results."""
    output = tmp_path / "results.jsonl"
    status = main(["eval", *map(str, (*SMALL, *arguments)), "--output", str(output)])
    return status, [json.loads(line) for line in output.read_text().splitlines()]


def fake(monkeypatch, ours, stock, wall=1.0, now=None):
    """Let the processes find (seconds, bits, tokens) or an exit status; returns their order."""
    order = []

    def scoring_of(who, found):
        order.append(who)
        if now is not None:
            now[0] += wall
        if isinstance(found, int):
            return scoring.Scoring(found, wall, last_lines=("INFO | loading", "no luck"))
        return scoring.Scoring(0, wall, *found)

    def run_stock(arguments, folder, threads):
        batch = int(arguments[arguments.index("--batch-size") + 1])
        return scoring_of(batch, stock[batch])

    monkeypatch.setattr(scoring, "run_ours", lambda *args: scoring_of("ours", ours))
    monkeypatch.setattr(scoring, "run_stock", run_stock)
    return order


def test_both_find_the_same_loss_of_the_same_tokens(tmp_path, capfd):
    status, rows = run(tmp_path, "--batch-sizes", "4", "--rounds", 1)
    assert status == 0
    assert [(row["softmax"], row["types"]) for row in rows] == [("full", 90), ("adaptive", 300)]
    for row in rows:
        assert (row["benchmark"], row["window"], row["stride"], row["tokens"]) == (
            "eval",
            16,
            4,
            32,
        )
        assert row["failed"] is None and row["not_run"] is None
        assert row["relative_difference"] < 1e-5
        assert 4 < row["our_bits_per_token"] < 20
        seconds, ours = row["stock_seconds"]["4"]["median"], row["our_seconds"]["median"]
        assert 0 < seconds < 60 and 0 < ours < 60
        assert row["ratio"]["median"] == pytest.approx(seconds / ours)
        assert row["stock_command"][:4] == [
            "fairseq-eval-lm",
            "data-bin",
            "--path",
            "checkpoint.pt",
        ]
        assert row["our_command"][-1] == "{'model': {'_name': 'transformer_lm_sinusoidal'}}"
        assert row.keys() >= {"commit", "torch", "cpu", "threads", "seed"}
    lines = capfd.readouterr().out.splitlines()
    table = next(n for n, line in enumerate(lines) if line.startswith("softmax"))
    assert lines[table].split()[:5] == ["softmax", "types", "window", "stride", "tokens"]
    assert re.match(r"full +90 +16 +4 +32 +[\d.]+\* +[\d.]+ +[\d.]+ +±0%", lines[table + 1])


def test_all_batch_sizes_are_timed_once_and_the_best_ones_again(tmp_path, monkeypatch, capsys):
    stock = {1: (9.0, 5.0, 32), 2: (4.0, 5.0, 32), 4: (4.5, 5.00001, 32)}
    order = fake(monkeypatch, (2.0, 5.0, 32), stock)
    flags = ("--softmax", "full", "--batch-sizes", "4,1,2", "--rounds", 3, "--taken-as", "stock")
    status, (row,) = run(tmp_path, *flags)
    assert status == 0
    assert order == ["ours", 1, 2, 4, "ours", 2, 4, "ours", 2, 4]
    assert (row["stock_batch_size"], row["rounds"]) == (2, 3)
    assert row["ratio"] == {"median": 2.0, "min": 2.0, "max": 2.0}
    assert row["relative_difference"] == pytest.approx(2e-6, rel=1e-3)
    assert "--model-overrides" not in row["our_command"]
    printed = capsys.readouterr().out
    assert re.search(r"^full .* 4.50 +9.00 +4.00\* +2.00 +2.00 +±0% +2e-06$", printed, re.MULTILINE)


@pytest.mark.parametrize(
    "ours, stock, reason",
    [
        ((1.0, 5.001, 32), (1.0, 5.0, 32), "the losses differ by 2.0e-04 of themselves"),
        ((1.0, float("nan"), 32), (1.0, 5.0, 32), "the losses differ by nan of themselves"),
        ((1.0, 5.0, 32), (1.0, 5.0, 31), "fairseq-eval-lm --batch-size 4 scored 31 tokens of 32"),
        ((1.0, 5.0, 32), 9, "fairseq-eval-lm --batch-size 4 failed with exit status 9"),
        (3, (1.0, 5.0, 32), "nopos-evaluate failed with exit status 3"),
    ],
)
def test_what_went_wrong_is_said(ours, stock, reason, tmp_path, monkeypatch, capsys):
    fake(monkeypatch, ours, {4: stock})
    status, (row,) = run(tmp_path, "--softmax", "full", "--batch-sizes", "4")
    assert status == 1
    assert row["failed"]["reason"].startswith(reason)
    printed = capsys.readouterr().out
    assert f"full softmax, window 16, stride 4: {reason}" in printed
    assert ("\n    no luck\n" in printed) == ("failed" in reason)


def test_what_fits_neither_memory_nor_budget_is_listed(tmp_path, monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(Budget.__init__, "__defaults__", (lambda: now[0],))
    stock = {batch: (1.0, 5.0, 32) for batch in (1, 2, 4, 8)}
    order = fake(monkeypatch, (1.0, 5.0, 32), stock, wall=25.0, now=now)
    share = (4 * 8 * 2 * 16 * 90 - 1) / memory.machine_bytes("cpu")
    flags = ("--softmax", "full", "--batch-sizes", "1,2,4,8", "--memory-share", share)
    status, (row,) = run(tmp_path, *flags, "--budget-minutes", 1.5, "--rounds", 1)
    assert status == 0 and order == ["ours", 1, 2]
    assert row["stock_not_run"] == {"4": "budget", "8": "needs 0.0 GiB"}
    printed = capsys.readouterr().out
    assert "budget: not run" in printed and "needs N GiB: not run" in printed


def test_nothing_runs_without_a_budget(tmp_path, monkeypatch):
    order = fake(monkeypatch, (1.0, 5.0, 32), {4: (1.0, 5.0, 32)})
    flags = ("--softmax", "full", "--batch-sizes", "4", "--budget-minutes", 0)
    status, (row,) = run(tmp_path, *flags)
    assert (status, order, row["not_run"], row["ratio"]) == (0, [], "budget", None)


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--dim", "33"), "--dim 33 is no multiple of --heads 2"),
        (("--strides", "17"), "--strides 17 exceeds --windows 16"),
        (("--types", "4"), "--types 4: fairseq needs 5 at least"),
        (("--cutoffs", "120,50"), "--cutoffs 120,50 must rise"),
        (("--cutoffs", "50,300"), "up to less than --adaptive-types 300"),
        (("--cutoffs", "9,50,120"), "--dim 32 leaves the last band no channel"),
        (("--strides", "half"), "'half' is no whole number"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(flags, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        main(["eval", *map(str, SMALL), *flags, "--output", str(tmp_path / "results")])
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_stock_is_measured_without_the_plugin(tmp_path):
    source = ast.parse(scoring.STOCK.read_text("utf-8"))
    names = {alias.name for n in ast.walk(source) if isinstance(n, ast.Import) for alias in n.names}
    names |= {node.module for node in ast.walk(source) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in names if name.startswith("nopos_plugin")]
    code = (
        f"import runpy, sys; sys.path.insert(0, ''); runpy.run_path({str(scoring.STOCK)!r}); "
        "print([name for name in sys.modules if name.startswith('nopos_plugin')])"
    )
    status, output = run_python("-c", code, cwd=Path(tmp_path))
    assert status == 0 and output.splitlines()[-1] == "[]"


def test_no_number_hides_behind_others():
    assert comparison.largest([]) is None
    assert comparison.largest([1e-6, 3e-6]) == 3e-6
    for values in ([1e-6, float("nan")], [float("nan"), 1e-6]):
        assert comparison.largest(values) != comparison.largest(values)


def test_words_come_as_often_as_their_rank_says():
    drawn = subject.tokens(200_000, 1000, seed=0)
    assert drawn.min() == 4 and drawn.max() < 1000
    counts = torch.bincount(drawn, minlength=1000)[4:].double()
    total = sum(1 / n for n in range(1, 997))
    for rank in (1, 2, 10):
        share = 1 / rank / total
        spread = (share * (1 - share) / 200_000) ** 0.5
        assert abs(counts[rank - 1] / 200_000 - share) < 5 * spread
    assert torch.equal(drawn[:10], subject.tokens(10, 1000, seed=0)[:10])


def test_the_memory_of_an_adaptive_softmax_is_that_of_all_types_at_every_position():
    shape = (("adaptive",), 1, 32, 2, 90, 300, (50, 120), (16,), (4,), 30, (1, 4), 1)
    plan = evaluation.Plan(*shape, "stock", "cpu", 1, 0, 0.5)
    found = evaluation.estimated_bytes(plan, "adaptive", (16, 4), 4)
    assert found == 4 * 4 * (16 * (300 + 2 * 52) + 2 * 4 * 250)
    assert plan.scored(4) == 32 and plan.scored(16) == 64
