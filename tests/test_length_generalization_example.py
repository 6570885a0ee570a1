"""The example of length generalization: its claims, its tables, and all of it in miniature."""

import json
import os
import subprocess

import pytest
from command import ROOT

from scripts import importable

EXAMPLE = ROOT / "examples" / "length_generalization"


@pytest.fixture(autouse=True)
def imported(monkeypatch):
    with importable(monkeypatch, EXAMPLE, EXAMPLE.parent):
        yield


def answered(encoding, task, seed, beyond, learned=1.0):
    name, _, variant = task.partition(" ")
    return {
        "checkpoint": f"{encoding}{seed}{task}",
        "checkpoint_sha256": f"{encoding}{seed}{task}",
        "samples": None,
        "data_sha256": task,
        "position_encoding": encoding,
        "trained_seed": seed,
        "problem": {"task": name, "variant": variant or "plain", "scratchpad": ""},
        "accuracy": {"valid": learned, "test": beyond},
    }


def attended(encoding, seed, near, far=0.1):
    """At a length that was trained on, and at one beyond, of two layers."""
    lengths = [("valid", [far, far]), ("test", [near - 0.1, near + 0.1])]
    return {
        "position_encoding": encoding,
        "trained_seed": seed,
        "problem": {"task": "copy", "variant": "cmc", "scratchpad": ""},
        "against_position_encoding": "nopos",
        "by_length": [
            {"split": split, "layers": [{"least_distance": its} for its in layers]}
            for split, layers in lengths
        ],
    }


ADDITION = {"task": "addition", "variant": "plain", "scratchpad": "co"}


def verdicts(answers, attention=()):
    """{what: (verdict, numbers)}"""
    from claims import Claims

    from nopos_plugin.cli import rank

    found = Claims([rank.run(row) for row in answers], attention, 0.95).all()
    return {claim.what: (claim.verdict, claim.numbers) for claim in found}


COPY = "copy cmc: beyond training {} is right more often than {}"


def test_verdicts_follow_the_numbers():
    copies = {
        "nopos": (0.50, 0.52, 0.54),
        "t5": (0.80, 0.81, 0.83),
        "rope": (0.1, 0.9, 0.5),
        "alibi": (0.30, 0.31, 0.30),
        "kerple_log": (0.1, 0.1, 0.12),
    }
    rows = [
        answered(name, "copy cmc", seed, share)
        for name, shares in copies.items()
        for seed, share in enumerate(shares, 1)
    ]
    rows += [answered("sinusoidal", "copy cmc", seed, 0.9, learned=0.94) for seed in (1, 2, 3)]
    rows += [answered(name, "scan", 1, share) for name, share in (("nopos", 0.2), ("alibi", 0.4))]
    said = verdicts(rows)
    assert said[COPY.format("t5", "nopos")] == ("yes", "t5 81.3 %, nopos 52.0 %")
    assert said[COPY.format("nopos", "rope")][0] == "unclear"  # the seeds of rope differ
    found = said[COPY.format("nopos", "sinusoidal")]
    assert found == ("unclear", "nopos 52.0 %, sinusoidal not learned")
    assert said[COPY.format("kerple_log", "alibi")][0] == "no"
    alone = said["scan: beyond training nopos is right more often than alibi"]
    assert alone == ("no (one seed)", "nopos 20.0 %, alibi 40.0 %")
    # apart by less than both deviations, so that the paper claims nothing
    assert COPY.format("nopos", "alibi") not in said and COPY.format("alibi", "nopos") not in said
    assert not any(claim.startswith("reverse") for claim in said)  # which nothing was asked


def test_what_was_published_of_another_scratchpad_says_so():
    from claims import Claims

    from nopos_plugin.cli import rank

    rows = [
        answered(name, "addition", 1, share) | {"problem": ADDITION}
        for name, share in (("nopos", 0.2), ("alibi", 0.1))
    ]
    found = list(Claims([rank.run(row) for row in rows], (), 0.95).all())
    (claim,) = [one for one in found if one.verdict.startswith("yes")]
    assert claim.what.startswith("addition scratchpad co: beyond training nopos is right more")
    assert claim.published == "16.6 and 11.7 %, full scratchpad"


def test_ranks_are_of_the_encodings_that_the_paper_has():
    shares = {"kerple_log": 0.9, "nopos": 0.8, "t5": 0.7, "alibi": 0.6, "rope": 0.5}
    tasks = ("copy cmc", "reverse mc")
    rows = [
        answered(name, task, seed, share)
        for name, share in shares.items()
        for task in tasks
        for seed in (1, 2)
    ]
    said = verdicts(rows)
    assert said["over all tasks nopos ranks before t5"] == ("yes", "nopos 1.000, t5 0.500")
    assert said["over all tasks t5 ranks before alibi"] == ("yes", "t5 0.500, alibi 0.333")
    last = said["over all tasks rope ranks before sinusoidal"]
    assert last == ("unclear", "rope 0.250, sinusoidal not learned")
    alone = verdicts([row for row in rows if row["problem"]["task"] == "copy"])
    assert alone["over all tasks nopos ranks before t5"][0] == "yes (one task)"


def test_attention_is_compared_beyond_training():
    rows = [
        attended(name, seed, near + seed / 1500)
        for name, near in (("t5", 0.3), ("alibi", 0.5), ("rope", 0.2))
        for seed in (1, 2)
    ]
    rows += [attended("sinusoidal", seed, 0.4) for seed in (1, 2)]
    copies = [
        answered(name, "copy cmc", seed, 0.5, learned=0.9 if name == "sinusoidal" else 1.0)
        for name in ("nopos", "t5", "alibi", "rope", "sinusoidal")
        for seed in (1, 2)
    ]
    said = verdicts(copies, rows)
    claim = "T5's attention is nearer to NoPos' than that of {} is"
    assert said[claim.format("alibi")] == ("yes", "alibi 0.501, t5 0.301")
    assert said[claim.format("rope")][0] == "no"
    assert said[claim.format("sinusoidal")] == ("unclear", "sinusoidal not learned, t5 0.301")


def run(folder):
    """(exit status, what was said)"""
    scan = folder.parent / "tasks.txt"
    actions = ("I_WALK", "I_TURN_LEFT")
    scan.write_text(
        "".join(
            f"IN: walk {word} {word} OUT: {' '.join([action] * length)}\n"
            for word, action in zip(("twice", "left"), actions, strict=True)
            for length in range(1, 41)
        )
    )
    done = subprocess.run(
        ["bash", EXAMPLE / "run.sh"],
        env={**os.environ, "OUT": str(folder), "SMOKE": "1", "SCAN": str(scan)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1500,
    )
    return done.returncode, done.stdout


@pytest.mark.slow
def test_the_example_from_begin_to_end_and_again(tmp_path):
    """In miniature: every command runs, and nothing twice."""
    for again in (False, True):
        code, said = run(tmp_path / "out")
        assert code == 0, said[-3000:]
        # data, trainings and answers of six encodings: copy with two seeds, scan; attention of copy
        assert said.count("finished earlier") == again * (2 + 2 * 18 + 12)
    made = {path.name for path in (tmp_path / "out").iterdir()}
    pictures = {"results-answers.png", "attention-divergence.png", "attention-attended.png"}
    assert {"table.md", "claims.md", "results.jsonl", "attention.jsonl"} | pictures <= made
    lines = (tmp_path / "out/results.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["trained_seed"] for row in rows if row["problem"]["task"] == "copy"} == {1, 2}
    assert "not learned" in (tmp_path / "out/table.md").read_text()
