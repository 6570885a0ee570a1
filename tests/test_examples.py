"""What examples are made of: steps that are made once, documents, reports; slow: a whole run."""

import json
import math
import os
import subprocess
import sys

import pytest
from command import ROOT

from scripts import importable

POSE = ROOT / "examples" / "pose"


def bash(script, cwd, **environment):
    """(exit code, all output)"""
    done = subprocess.run(
        [
            "bash",
            "-c",
            f"set -euo pipefail; root={ROOT}; name=test; . {ROOT}/examples/steps.sh\n{script}",
        ],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout


def test_a_step_is_made_once_and_whole_or_not_at_all(tmp_path):
    make = 'make() { echo made >>log; echo "$1" >"$part/file"; }\n'
    assert bash(make + "step a/b key1 make one", tmp_path)[0] == 0
    code, said = bash(make + "step a/b key1 make two", tmp_path)
    assert code == 0 and "a/b: finished earlier" in said
    assert (tmp_path / "a/b/file").read_text() == "one\n" and (
        tmp_path / "log"
    ).read_text() == "made\n"
    assert bash(make + "step a/b key2 make two", tmp_path)[0] == 0
    assert (tmp_path / "a/b/file").read_text() == "two\n"
    code, _ = bash(make + 'fail() { make "$1"; false; }\nstep a/c key1 fail one', tmp_path)
    assert code != 0 and not (tmp_path / "a/c").exists()
    assert bash(make + "step a/c key1 make one", tmp_path)[0] == 0
    assert sorted(one.name for one in (tmp_path / "a").iterdir()) == ["b", "c"]


def test_what_was_begun_goes_on_unless_its_key_changed(tmp_path):
    make = 'make() { echo "$1" >>"$part/file"; }\nbreak_off() { make "$1"; false; }\n'
    code, _ = bash(make + "resumable_step a/b key1 break_off one", tmp_path)
    assert code != 0 and not (tmp_path / "a/b").exists()
    assert bash(make + "resumable_step a/b key1 make two", tmp_path)[0] == 0
    assert (tmp_path / "a/b/file").read_text() == "one\ntwo\n"
    bash(make + "resumable_step a/b key2 break_off three", tmp_path)
    assert not (tmp_path / "a/b").exists()
    assert (tmp_path / "a/b.old/file").read_text() == "one\ntwo\n"
    assert bash(make + "resumable_step a/b key3 make four", tmp_path)[0] == 0
    assert (tmp_path / "a/b/file").read_text() == "four\n"
    code, said = bash(make + "resumable_step a/b key3 make five", tmp_path)
    assert (code, (tmp_path / "a/b/file").read_text()) == (0, "four\n")
    assert "a/b: finished earlier" in said


def test_a_command_that_fails_shows_the_end_of_its_log(tmp_path):
    (tmp_path / "logs").mkdir()
    code, said = bash("out=here; logged thing bash -c 'echo last words; exit 3'", tmp_path)
    assert code == 1 and "last words" in said
    assert "test: bash failed; above is the end of here/logs/thing.log" in said


def test_jobs_run_side_by_side_and_a_failure_ends_them(tmp_path):
    pair = 'jobs=2; one() { touch "$1"; while [ ! -e a ] || [ ! -e b ]; do sleep 0.01; done; }\n'
    assert bash(pair + "side_by_side one a b c", tmp_path)[0] == 0  # a and b wait for each other
    code, said = bash("jobs=2; one() { [ $1 != b ]; }; side_by_side one a b c d", tmp_path)
    assert code == 1 and "stopped: the failure is above" in said


@pytest.fixture
def shared(monkeypatch):
    """What several examples import can be imported."""
    with importable(monkeypatch, ROOT / "examples"):
        yield


def test_intervals_are_students(shared):
    """Of 1, 2, 3 against 2, 4, 9; t of 2 and of 4 degrees of freedom at 95 %: 4.303, 2.776."""
    import difference

    one, other = {1: 1.0, 2: 2.0, 3: 3.0}, {1: 2.0, 2: 4.0, 3: 9.0}
    apart = difference.between(one, other)
    assert apart.mean == -3
    assert apart.half == pytest.approx(2.776 * math.sqrt(1 / 3 + 13 / 3), rel=2e-3)
    paired = difference.within(one, other)  # -1, -2, -6
    assert paired[:2] == (-3, pytest.approx(4.303 * math.sqrt(7 / 3), rel=2e-3))
    single = difference.between({1: 2.5}, one)  # which spreads like the other
    assert single[:2] == (0.5, pytest.approx(4.303 * math.sqrt(1 + 1 / 3), rel=2e-3))
    assert math.isnan(difference.between({1: 1.0}, {1: 2.0}).half)
    assert difference.Difference(-3, 2.9).below(0) == "yes"
    assert difference.Difference(-3, 3.1).below(0) == "unclear"
    assert difference.Difference(-3, 2.9).above(0) == "no"
    assert difference.Difference(0.2, math.nan).above(0.1) == "yes (one seed)"
    task = difference.within({"copy": 1.0}, {"copy": 1.5}, over="task")
    assert task.above(0) == "no (one task)" and task.below(0) == "yes (one task)"
    for half in (math.nan, 0.0, 1.0):  # equals are neither
        assert difference.Difference(0.1, half).above(0.1) == "unclear"
        assert difference.Difference(0.1, half).below(0.1) == "unclear"


def test_progress_is_told_from_what_is_there(shared, tmp_path, monkeypatch):
    import progress

    monkeypatch.chdir(tmp_path)
    paths = [
        f"{folder}/{name}" for folder in ("models", "evaluations") for name in ("nopos-1", "rope-1")
    ]
    paths.append("analyses/nopos-1")
    share = progress.work(paths)
    assert sum(share.values()) == pytest.approx(1) and list(share) == paths
    assert share["models/rope-1"] == pytest.approx(1 / 2.6)  # two of each, and 0.3 of analyses

    def seen():
        return [progress.done(path, 1000) for path in paths]

    assert seen() == [0, 0, 0, 0, 0]
    for name in ("nopos-1.part/checkpoint_1_500.pt", "nopos-1.part/checkpoint_2_700.pt"):
        path = tmp_path / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "evaluations" / "rope-1.part").mkdir(parents=True)
    (tmp_path / "models" / "rope-1").mkdir()
    assert seen() == [0.7, 1, 0, 0, 0]
    (tmp_path / "analyses" / "nopos-1").mkdir(parents=True)
    (tmp_path / "evaluations" / "rope-1").mkdir()
    assert seen() == [0.7, 1, 0, 1, 1]
    assert progress.told(paths) == "1 of 2 models, 1 of 2 evaluations, 1 of 1 analyses"
    assert progress.told(paths[:2]) == "1 of 2 models"


def python(script, *arguments, cwd):
    done = subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_documents_of_the_pose_example(tmp_path):
    lines = [f"def function_{number}(): return {number}" for number in range(3000)]
    for split in ("train", "valid"):
        (tmp_path / f"{split}.txt").write_text("\n".join(lines) + "\n")
    for name in ("lessons", "long-lessons"):
        (tmp_path / name).mkdir()
        told = [json.dumps({"text": f"{name} {number}"}) + "\n" for number in range(300)]
        (tmp_path / name / "train.jsonl").write_text("".join(told))
    python(POSE / "documents.py", tmp_path, tmp_path, 64, 8, cwd=tmp_path)

    def documents(name):
        made = (tmp_path / f"{name}.jsonl").read_text().splitlines()
        return [json.loads(line)["text"] for line in made]

    text = (tmp_path / "train.txt").read_text()
    for name, windows, share in (("short", 1, 1), ("long", 5, 2), ("full", 8, 1)):
        found = documents(name)
        pieces = [one for one in found if one.startswith("def")]
        assert "".join(pieces) == text and all(piece.endswith("\n") for piece in pieces)
        assert all(len(piece) >= 3.3 * 64 * windows for piece in pieces[:-1])
        told = [one for one in found if not one.startswith("def")]
        assert len(told) == min(300, share * len(pieces))
        assert all(one.startswith("long" if name == "full" else "lessons") for one in told)
    (valid,) = documents("valid")
    assert 60_000 <= len(valid) < 60_100
    vocabulary = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    assert not [piece for piece in vocabulary if len(piece) > 1 and any(map(str.isdigit, piece))]


def test_the_report_of_the_pose_example(tmp_path):
    script = (POSE / "run.sh").read_text()
    names = [item.partition("=")[0] for item in script.split("models=(")[1].split(")")[0].split()]
    lengths = (256, 512, 1024, 2048, 4096)
    for name in names:
        folder = tmp_path / "evaluations" / name
        folder.mkdir(parents=True)
        good = name.startswith(("pose", "full", "plain"))
        for kind, field, value in (
            (
                "results",
                "perplexity_per_token",
                lambda n, good=good: 20 - n / 1000 + (not good) * n,
            ),
            ("passkey", "accuracy", lambda n, good=good: float(good or n == 256)),
        ):
            size = "window_tokens" if kind == "results" else "length_tokens"
            rows = [json.dumps({size: n, field: value(n)}) + "\n" for n in lengths]
            (folder / f"{kind}.jsonl").write_text("".join(rows))
    said = python(POSE / "report.py", *names, cwd=tmp_path)
    assert said.strip() == (tmp_path / "table.md").read_text().strip()
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in said.splitlines()
        if "|" in line
    ]
    by_first = {}
    for row in rows:
        by_first.setdefault(row[0], []).append(row[1:])
    assert by_first["base"] == [
        ["276", "531", "1,043", "2,066", "4,112"],
        ["100%", "0%", "0%", "0%", "0%"],
    ]
    claims = {row[0]: row[2] for row in rows if len(row) == 4}
    assert claims["without extension perplexity explodes beyond the training length"] == "yes"
    assert claims["passkeys tell PoSE from interpolation trained at short positions"] == "no"
    assert claims["PoSE finds at least 90 % of passkeys up to 8 windows (linear)"] == "yes"


@pytest.mark.slow
def test_the_pose_example_from_begin_to_end_and_again(tmp_path):
    """Hardly trained: every command runs, and a second run finds all of it done."""
    few = {"OUT": str(tmp_path), "UPDATES": "3", "FURTHER": "2", "TRIALS": "1"}
    for again in (False, True):
        done = subprocess.run(
            ["bash", POSE / "run.sh"],
            env={**os.environ, **few},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1500,
        )
        assert done.returncode == 0, done.stdout[-3000:]
        assert done.stdout.count("finished earlier") == again * 26  # data, 11 models, 14 of results
        assert "yarn is the best of the three at the longest length" in done.stdout
    made = {path.name for path in tmp_path.iterdir()}
    assert {"table.md", "results-perplexity.png", "passkey-depth.png", "results.jsonl"} <= made


@pytest.mark.parametrize("name", ["quickstart", "pose", "study", "length_generalization"])
def test_run_takes_no_words_but_help(name, tmp_path):
    """A word such as `quick` would be easily taken for SCALE=quick, and hours for minutes."""
    for words, status, said in (("--help", 0, f"bash examples/{name}/run.sh"), ("quick", 1, "")):
        command = ["bash", ROOT / "examples" / name / "run.sh", words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == status and said in done.stdout
        assert (
            done.stderr
            == (f"{name}: quick: what it does is told by variables before it; see --help\n")
            * status
        )
