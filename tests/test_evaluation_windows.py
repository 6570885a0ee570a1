"""The schedule: every target once, as golden windows say, or a ValueError."""

import json
from pathlib import Path

import pytest

from nopos_plugin.evaluation.windows import Between, LastOfEach, Sliding, Window, windows

GOLDEN = json.loads(Path(__file__).parent.joinpath("golden/sliding_windows.json").read_text())
CASES = {case["name"]: case for case in GOLDEN["cases"]}


@pytest.mark.parametrize(
    "name",
    ["stride_2", "stride_equals_context_minus_1", "document_fills_window_exactly", "two_documents"],
)
def test_golden_windows(name):
    """There a window holds a BOS as well, so that it has one target less than its size."""
    case, found = CASES[name], []
    for length in case["doc_lengths"]:
        for window in windows(length, Sliding(case["context"] - 1, case["stride"])):
            tokens = [100 + number for number in range(window.start, window.stop)]
            found.append(([1, *tokens], tokens[window.scored - window.start :]))
    assert found == [(window["input"], window["scored_tokens"]) for window in case["windows"]]


def test_the_golden_defect_is_refused():
    case = CASES["stride_larger_than_window_defect"]
    with pytest.raises(ValueError, match="stride 6 with window 4: .* unscored; .* from 1 to 4"):
        Sliding(case["context"] - 1, case["stride"])


@pytest.mark.parametrize("window", [1, 2, 7, 10])
def test_every_target_is_scored_once_by_the_widest_context(window):
    for stride in range(1, window + 1):
        for first in (None, stride, 1):
            schedule = Sliding(window, stride, first)
            for length in range(25):
                made = list(windows(length, schedule))
                scored = [n for each in made for n in range(each.scored, each.stop)]
                assert scored == list(range(length))
                assert all(0 <= w.start <= w.scored < w.stop <= w.start + window for w in made)
                assert all(each.stop - each.scored == stride for each in made[1:-1])
                for number, each in enumerate(made):
                    # the last one is short rather than seeing more
                    assert each.start == max(0, (first or window) + number * stride - window)
                if made:
                    assert made[0].stop == min(first or window, length)


def test_a_stride_of_the_window_does_not_overlap():
    assert list(windows(10, Sliding(4, 4))) == [Window(0, 0, 4), Window(4, 4, 8), Window(8, 8, 10)]


@pytest.mark.parametrize("sizes", [(0, 1), (4, 0), (4, 5), (4, -1), (4, 2, 0), (4, 2, 5)], ids=str)
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match="window 0|stride|first"):
        Sliding(*sizes)


def test_the_last_tokens_are_the_same_at_every_length():
    found = {}
    for window in (3, 8, 20):
        made = list(windows(65, LastOfEach(window, 3, 20)))
        found[window] = [(each.scored, each.stop) for each in made]
        assert all(each.stop - each.start == window for each in made)
    assert found[3] == found[8] == found[20] == [(17, 20), (37, 40), (57, 60)]
    assert list(windows(19, LastOfEach(8, 3, 20))) == []
    for sizes in ((2, 3, 20), (21, 3, 20), (5, 0, 20)):
        with pytest.raises(ValueError, match="must not fall"):
            LastOfEach(*sizes)


def test_a_sample_is_the_same_at_every_length_and_stride():
    for window in (1, 4, 10, 64):
        for stride in {1, window // 2 or 1, window}:
            made = list(windows(50, Between(window, stride, 20, 43)))
            scored = [n for each in made for n in range(each.scored, each.stop)]
            assert scored == list(range(20, 43))
            for each in made[:-1]:
                assert each.stop - each.scored == stride
                assert each.start == max(0, each.stop - window)
            assert made[-1].start == max(0, made[-1].scored + stride - window)
    assert list(windows(50, Between(8, 8, 20, 30))) == [Window(20, 20, 28), Window(28, 28, 30)]
    assert list(windows(50, Between(8, 4, 20, 26))) == [Window(16, 20, 24), Window(20, 24, 26)]
    assert (
        list(windows(43, Between(8, 8, 20, 43))) != [] == list(windows(42, Between(8, 8, 20, 43)))
    )


@pytest.mark.parametrize("sizes", [(4, 4, 3, 3), (4, 4, -1, 3), (4, 5, 0, 3)], ids=str)
def test_an_impossible_sample_is_refused(sizes):
    with pytest.raises(ValueError, match="there is none|stride 5 with window 4"):
        Between(*sizes)
