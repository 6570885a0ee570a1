"""results.jsonl: what is there is kept, what is not ours is refused."""

import pytest

from nopos_plugin.evaluation import results
from nopos_plugin.evaluation.results import PERPLEXITY


def test_rows_come_back(tmp_path):
    path = tmp_path / "results.jsonl"
    assert results.read(path, PERPLEXITY) == []
    results.append(path, {"window_tokens": 5}, PERPLEXITY)
    results.append(path, {"window_tokens": 6, "nats": 1.5}, PERPLEXITY)
    assert [row["window_tokens"] for row in results.read(path, PERPLEXITY)] == [5, 6]


@pytest.mark.parametrize("text", ["{}", "[1]", "nothing", '{"result": "other"}', "\n"])
def test_other_files_are_refused_and_kept(tmp_path, text):
    path = tmp_path / "results.jsonl"
    results.append(path, {"window_tokens": 5}, PERPLEXITY)
    with path.open("a") as file:
        file.write(text)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="results.jsonl, line 2, is no result of nopos-evaluate"):
        results.read(path, PERPLEXITY)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "rest", ["", '{"result": "nopos_pl', '{"result": "nopos_plugin perplexity", "a": 1']
)
def test_a_last_line_that_was_cut_short_is_left_out_and_replaced(tmp_path, rest):
    path = tmp_path / "results.jsonl"
    results.append(path, {"window_tokens": 5}, PERPLEXITY)
    with path.open("a") as file:
        file.write(rest)
    assert [row["window_tokens"] for row in results.read(path, PERPLEXITY)] == [5]
    results.mend(path)
    results.append(path, {"window_tokens": 6}, PERPLEXITY)
    assert [row["window_tokens"] for row in results.read(path, PERPLEXITY)] == [5, 6]
    assert path.read_text().count("\n") == 2


def test_a_last_line_without_its_end_is_kept(tmp_path):
    path = tmp_path / "results.jsonl"
    results.append(path, {"window_tokens": 5}, PERPLEXITY)
    path.write_text(path.read_text().rstrip("\n"))
    results.mend(path)
    results.append(path, {"window_tokens": 6}, PERPLEXITY)
    assert [row["window_tokens"] for row in results.read(path, PERPLEXITY)] == [5, 6]


def test_found_is_the_last_that_is_the_same_in_all_that_decides_the_number():
    row = {name: 1 for name in PERPLEXITY.same}
    first, second = {**row, "seconds": 3}, {**row, "seconds": 4}
    assert results.find(row, [first, second], PERPLEXITY) is second
    for name in PERPLEXITY.same:
        assert results.find(row, [{**row, name: 2}], PERPLEXITY) is None
