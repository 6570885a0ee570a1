"""nopos-benchmark data: both routes make the same tokens, and what is said when they do not."""

import ast
import gzip
import json
import re
import time
from collections import Counter

import numpy as np
import pytest
import small_bpe
import zstandard

from nopos_plugin.benchmark import agreement, processes, routes
from nopos_plugin.benchmark.budget import Budget
from nopos_plugin.cli.benchmark import main

TEXTS = [
    "one line",
    "It's 3.5 km.\n\nНовый мир.\n\n\n  indented,  twice \n",
    "\n\nblank lines first \t\r\n中文 \U0001f642\u2028naïve\x85.\n",
    " ",  # left out by both
    "one line",
    " a\u00a0b\n\u00a0\u00a0c ...\n \n.",
]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    """A small byte-level BPE as GPT-2's three files, ids and dict.txt shuffled."""
    folder = tmp_path_factory.mktemp("vocabulary")
    small_bpe.make(folder, [*TEXTS, "one two\n\nthree\n\u00a0\u00a0four" * 99], 330)
    return folder


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """TEXTS three times in the Pile's format: .zst of two frames, .gz and as they are."""
    folder = tmp_path_factory.mktemp("sources")
    lines = [json.dumps({"text": t, "meta": {"pile_set_name": "ArXiv"}}) + "\n" for t in TEXTS]
    data = [line.encode() for line in lines]
    frames = [zstandard.compress(b"".join(part)) for part in (data[:2], data[2:])]
    (folder / "0.jsonl.zst").write_bytes(b"".join(frames))
    (folder / "1.jsonl.gz").write_bytes(gzip.compress(b"".join(data)))
    (folder / "2.jsonl").write_bytes(b"".join(data))
    return sorted(folder.iterdir())


def run(tmp_path, vocabulary, sources, *arguments):
    """Exit status of nopos-benchmark data, and its results."""
    output = tmp_path / "results.jsonl"
    typed = ("--sources", *sources, "--gpt2-encoder-json", vocabulary / "encoder.json", *arguments)
    status = main(["data", *map(str, typed), "--output", str(output)])
    return status, [json.loads(line) for line in output.read_text().splitlines()]


def fake(monkeypatch, seconds, documents=None, failures=(), now=None):
    """Let each route take `seconds[copies]` and make documents; returns their order."""
    order = []

    def take(plan, vocabulary, folder, copies, cut):
        order.append(copies)
        took = seconds[copies]
        if now is not None:
            now[0] += took
        steps = routes.STEPS if copies == 0 else ("nopos-prepare-pile",)
        each = took / 2 if copies == 0 else took
        runs = {step: processes.Run(0, each, 2**20 * (copies + 1)) for step in steps}
        if copies in failures:
            return routes.Made(runs, {"reason": "encode failed", "last_lines": ["no luck"]})
        found = documents or {0: Counter(a=1, b=2), 1: Counter(a=1, b=2), 3: Counter(a=3, b=6)}
        counts = {
            key: (copies or 1) * n for key, n in dict(documents=3, tokens=90, bytes=300).items()
        }
        return routes.Made(runs, None, found[copies], counts)

    monkeypatch.setattr(routes, "take", take)
    return order


def test_both_routes_make_the_same_tokens(tmp_path, vocabulary, sources, capsys):
    status, (row,) = run(tmp_path, vocabulary, sources, "--copies", 2, "--rounds", 1)
    assert (status, row["failed"], row["not_run"]) == (0, None, None)
    assert (row["benchmark"], row["copies"], row["documents"]) == ("data", 2, 2 * 3 * 5)
    kept = [text for text in TEXTS if text.strip()]
    assert row["bytes"] == 2 * 3 * sum(len(text.encode()) for text in kept)
    classic, steps = row["classic_seconds"]["median"], row["classic_step_seconds"]
    assert classic == pytest.approx(steps["encode"]["median"] + steps["preprocess"]["median"])
    ours = row["our_seconds"]["median"]
    assert row["ratio"]["median"] == pytest.approx(2 * classic / ours)
    assert row["our_tokens_per_second"]["median"] == pytest.approx(row["tokens"] / ours)
    assert row["classic_tokens_per_second"]["median"] == pytest.approx(row["tokens"] / 2 / classic)
    for peak in (row["our_peak_bytes"], row["classic_peak_bytes"]):
        assert 50 * 2**20 < peak < 2**32
    printed = capsys.readouterr().out
    assert re.search(
        r"^nopos-prepare-pile +2 +0 +\d+ +\d+ +[\d.]+ +\d+ +[\d.]+ +±0% +1$", printed, re.M
    )


def test_rounds_are_turns_and_ratios_are_of_one_round(tmp_path, vocabulary, sources, monkeypatch):
    order = fake(monkeypatch, {0: 20.0, 1: 2.0, 3: 4.0})
    status, rows = run(tmp_path, vocabulary, sources, "--copies", "1,3", "--rounds", 2)
    assert status == 0 and order == [0, 1, 3, 0, 1, 3]
    assert [row["ratio"]["median"] for row in rows] == [10.0, 15.0]
    assert [row["our_tokens_per_second"]["median"] for row in rows] == [45.0, 67.5]
    assert [row["classic_tokens_per_second"]["median"] for row in rows] == [4.5, 4.5]
    assert [row["our_peak_bytes"] for row in rows] == [2 * 2**20, 4 * 2**20]


def test_there_is_no_ratio_when_they_disagree(tmp_path, vocabulary, sources, monkeypatch, capsys):
    found = {0: Counter(a=1, b=2), 1: Counter(a=1, b=1, c=1)}
    fake(monkeypatch, {0: 20.0, 1: 2.0}, found)
    status, (row,) = run(tmp_path, vocabulary, sources)
    assert (status, row["ratio"], row["our_seconds"]) == (1, None, None)
    reason = "of 3 documents of the classic route 1 are not among the 3 of nopos-prepare-pile"
    assert row["failed"]["reason"].startswith(reason)
    assert f"copies 1: {reason}" in capsys.readouterr().out


def test_what_failed_is_said(tmp_path, vocabulary, sources, monkeypatch, capsys):
    order = fake(monkeypatch, {0: 20.0, 1: 2.0}, failures=(0,))
    status, (row,) = run(tmp_path, vocabulary, sources)
    assert (status, order, row["ratio"]) == (1, [0], None)
    assert row["failed"] == {"reason": "encode failed", "last_lines": ["no luck"]}
    assert "\n    no luck\n" in capsys.readouterr().out


def test_what_does_not_fit_the_budget_is_not_run(
    tmp_path, vocabulary, sources, monkeypatch, capsys
):
    now = [0.0]
    monkeypatch.setattr(Budget.__init__, "__defaults__", (lambda: now[0],))
    order = fake(monkeypatch, {0: 50.0, 1: 5.0, 3: 20.0}, now=now)
    flags = ("--copies", "1,3", "--budget-minutes", 1)
    status, rows = run(tmp_path, vocabulary, sources, *flags)
    assert (status, order) == (0, [0, 1, 3])
    status, rows = run(tmp_path, vocabulary, sources, "--budget-minutes", 0)
    assert (status, rows[-1]["not_run"], rows[-1]["ratio"]) == (0, "budget", None)
    assert "budget: not run" in capsys.readouterr().out


def test_a_newline_is_an_end_of_line_and_so_are_two(vocabulary):
    cut = agreement.cut(vocabulary / "encoder.json", vocabulary / "dict.txt")
    encoder = json.loads((vocabulary / "encoder.json").read_text())
    names = [line.split()[0] for line in (vocabulary / "dict.txt").read_text().splitlines()]
    document = [4 + names.index(str(encoder[p])) for p in ("o", "ĊĊ", "Ċ", "n", "ĊÂł")]
    after = 4 + names.index(str(encoder["Âł"]))
    found = cut.lines(np.array([*document, 2], dtype=np.uint16))
    assert found.tolist() == [document[0], 2, 2, 2, document[3], 2, after, 2]


def test_the_documents_of_more_copies_come_as_often():
    one = Counter(a=1, b=2)
    assert agreement.difference(Counter(a=3, b=6), one, 3) is None
    assert agreement.difference(Counter(a=3, b=5), one, 3).startswith("of 9 documents")
    assert agreement.difference(Counter(a=3, b=6, c=1), one, 3).endswith(
        "0 are not among the 10 of nopos-prepare-pile, token for token"
    )


def test_memory_is_that_of_all_processes_at_once(tmp_path):
    child = "import time; held = bytearray(b'x') * 2**26; time.sleep(1)"
    code = (
        f"import subprocess, sys; command = [sys.executable, '-c', {child!r}]; "
        "[child.wait() for child in [subprocess.Popen(command) for _ in range(2)]]"
    )
    start = time.monotonic()
    done = processes.run(["-c", code], tmp_path)
    assert done.exit_status == 0 and 1 <= done.seconds <= time.monotonic() - start
    assert 2 * 2**26 < done.peak_bytes < 2 * 2**26 + 2**26
    failed = processes.run(["-c", "print('so far'); raise SystemExit(3)"], tmp_path)
    assert (failed.exit_status, failed.last_lines) == (3, ("so far",))


def test_the_classic_route_is_measured_without_the_plugin():
    source = ast.parse(routes.SCRIPT.read_text("utf-8"))
    names = {alias.name for n in ast.walk(source) if isinstance(n, ast.Import) for alias in n.names}
    names |= {node.module for node in ast.walk(source) if isinstance(node, ast.ImportFrom)}
    assert "fairseq.data.encoders.gpt2_bpe_utils" in names
    assert not [name for name in names if name.startswith("nopos_plugin")]


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--sources", "none.jsonl"), "--sources none.jsonl: no such file"),
        (("--gpt2-dict", "none.txt"), "--gpt2-dict none.txt: no such file"),
        (("--copies", "1,1"), "1 is there twice"),
    ],
)
def test_what_is_not_there_is_refused(flags, message, tmp_path, vocabulary, sources, capsys):
    with pytest.raises(SystemExit) as error:
        run(tmp_path, vocabulary, sources, *flags)
    assert error.value.code == 2
    assert message in capsys.readouterr().err
