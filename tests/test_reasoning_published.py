"""SCAN and PCFG SET from files: pooled, parted by length, and malformed ones told by line."""

import re

import pytest
from reasoning import PCFG, SCAN, build, pcfg_file, scan_file

from nopos_plugin.data import reasoning

VERBS = {"walk": "I_WALK", "look": "I_LOOK", "run": "I_RUN", "jump": "I_JUMP"}
TURNS = {"left": "I_TURN_LEFT", "right": "I_TURN_RIGHT"}


def commands():
    """{command: actions} of the whole grammar (Lake and Baroni, 2018, figures 6 and 7)."""
    made = {verb: [action] for verb, action in VERBS.items()}
    for side, turn in TURNS.items():
        for verb, action in {**{v: [a] for v, a in VERBS.items()}, "turn": []}.items():
            made[f"{verb} {side}"] = [turn, *action]
            made[f"{verb} opposite {side}"] = [turn, turn, *action]
            made[f"{verb} around {side}"] = [turn, *action] * 4
    times = {"": 1, " twice": 2, " thrice": 3}
    made = {c + word: a * n for c, a in made.items() for word, n in times.items()}
    both = {f"{c} and {d}": a + b for c, a in made.items() for d, b in made.items()}
    return {**made, **both, **{f"{c} after {d}": made[d] + made[c] for c in made for d in made}}


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    lines = [f"IN: {c} OUT: {' '.join(actions)}" for c, actions in commands().items()]
    folder = tmp_path_factory.mktemp("scan")
    scan_file(folder, lines[7000:] + lines[:9000])  # pairs that are in two files count once
    return reasoning.build("scan", files=[folder / "tasks.txt"])


def test_the_whole_of_scan_has_the_studys_splits(scan):
    made = {split: list(scan.examples(split)) for split in ("train", "valid", "test")}
    assert [len(part) for part in made.values()] == [15997, 1777, 3136]
    lengths = {split: {e.length for e in part} for split, part in made.items()}
    assert max(lengths["train"]) == 25
    assert lengths["test"] == {26, 27, 28, 30, 32, 33, 36, 40, 48}
    sources = [e.source for part in made.values() for e in part]
    assert len(set(sources)) == 20910


def test_order_is_the_seeds_and_not_that_of_files(scan, tmp_path):
    first = list(scan.examples("train", 100, seed=1))
    assert list(scan.examples("train", seed=1))[:100] == first
    assert list(scan.examples("train", 100, seed=2)) != first
    assert {e.length for e in first} > set(range(4, 10))
    lines = [f"IN: {c} OUT: {' '.join(actions)}" for c, actions in commands().items()]
    again = reasoning.build("scan", files=[scan_file(tmp_path, sorted(lines))])
    assert list(again.examples("train", 100, seed=1)) == first
    assert first[0].source == "Solve: walk twice after jump twice[SEP] "


def test_other_lengths(scan, tmp_path):
    files = [tmp_path / "tasks.txt"]
    scan_file(tmp_path)
    task = reasoning.build("scan", files=files, train=range(2, 3), test=range(3, 9))
    assert [e.target for e in task.examples("train")] == ["Right Walk"]
    assert [e.target for e in task.examples("test")] == ["Run Run Run"]
    message = "--test-lengths 33:40: the files of scan have none, but 2 to 32 actions; give"
    with pytest.raises(ValueError, match=message):
        reasoning.build("scan", files=files, test=range(33, 41))
    with pytest.raises(
        ValueError, match="--test-lengths 20:48: some are trained on; scan has each"
    ):
        reasoning.build("scan", files=files, test=range(20, 49))
    without = reasoning.build("scan")
    with pytest.raises(ValueError, match="--files: scan is read from its published files; name"):
        without.examples("train")
    assert without.right("Solve: walk[SEP] Walk", "Walk")


def test_pcfg(tmp_path):
    task = build("pcfg", tmp_path)
    made = [*task.examples("train"), *task.examples("test")]
    assert sorted(e.length for e in made) == [1, 2, 9]
    assert [e.source for e in task.examples("test")] == [f"Solve: {'copy ' * 9}Z20[SEP] "]
    more = [(f"copy A{number}", f"A{number}") for number in range(1, 21)]
    files = [pcfg_file(tmp_path), pcfg_file(tmp_path, more, "more")]
    task = reasoning.build("pcfg", files=[*files, files[0]])
    assert [len(list(task.examples(split))) for split in ("train", "valid", "test")] == [20, 2, 1]


@pytest.mark.parametrize(
    "line",
    [
        "IN: walk OUT: WALK",
        "IN: stroll OUT: I_WALK",
        "IN: walk  twice OUT: I_WALK I_WALK",
        "IN: walk",
        "walk\tI_WALK",
        "IN: walk OUT: I_WALK ",
        "",
    ],
)
def test_malformed_lines_of_scan(line, tmp_path):
    path = scan_file(tmp_path, [*SCAN, line, SCAN[0]])
    message = f"{path}, line 4: {line!r} is not `IN: ... OUT: ...` with commands and actions"
    with pytest.raises(ValueError, match=re.escape(message)):
        reasoning.build("scan", files=[path])


@pytest.mark.parametrize(
    "pair, message",
    [
        (("reverse A1 B27", "B2 A1"), "test.src, line 4: 'reverse A1 B27' is not functions and"),
        (("reverse A1 B2", "B2 , A1"), "test.tgt, line 4: 'B2 , A1' is not strings of PCFG SET"),
        (("reverse A1 " * 20, "A1"), f"line 4: {('reverse A1 ' * 6)[:60] + '...'!r} is not func"),
    ],
)
def test_malformed_lines_of_pcfg(pair, message, tmp_path):
    path = pcfg_file(tmp_path, [*PCFG, pair])
    with pytest.raises(ValueError, match=re.escape(message)):
        reasoning.build("pcfg", files=[path])


def test_files_that_do_not_fit(tmp_path):
    path = pcfg_file(tmp_path)
    path.with_suffix(".tgt").write_text("A1\n")
    with pytest.raises(
        ValueError, match="test.tgt, line 2: it has 1 lines, test.src 3; a line for"
    ):
        reasoning.build("pcfg", files=[path])
    with pytest.raises(ValueError, match="name the .src file; the .tgt beside it is read too"):
        reasoning.build("pcfg", files=[path.with_suffix(".tgt")])
    path = tmp_path / "latin"
    path.write_bytes(b"IN: walk OUT: I_WALK\nIN: caf\xe9 OUT: I_RUN\n")
    with pytest.raises(ValueError, match=r"latin, line 2: 'IN: caf\\\\xe9 OUT: I_RUN' is not"):
        reasoning.build("scan", files=[path])
