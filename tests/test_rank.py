"""nopos-rank: reciprocal ranks with fair ties, what was not learned is in none."""

import pytest
from test_plots import lines
from test_plots_answers import answered

from nopos_plugin.cli.rank import main, report
from nopos_plugin.evaluation.ranks import Run, cell, mean_reciprocal_ranks, reciprocal_ranks


def test_equals_share_their_mean_rank():
    found = reciprocal_ranks({"a": 0.5, "b": 0.9, "c": 0.5, "d": 0.1})
    assert found == {"b": 1, "a": 1 / 2.5, "c": 1 / 2.5, "d": 1 / 4}
    assert reciprocal_ranks(dict.fromkeys("abc", 0)) == dict.fromkeys("abc", 1 / 2)


def runs():
    beyond = {
        ("copy", 1): {"nopos": 0.9, "rope": 0.1, "t5": 0.5},
        ("copy", 2): {"nopos": 0.3, "rope": 0.1, "t5": 0.5},
        ("parity", 1): {"nopos": 0.4, "rope": 0.4, "t5": 0.8},
    }
    return [
        Run(encoding, task, seed, 0.5 if (encoding, task) == ("t5", "parity") else 1.0, value)
        for (task, seed), values in beyond.items()
        for encoding, value in values.items()
    ]


def test_means_over_tasks_and_seeds():
    found = mean_reciprocal_ranks(runs(), 0.95)
    # t5 has not learned parity, so that the two others share the first two ranks there
    assert found["nopos"].mean == pytest.approx(((1 + 1 / 2) / 2 + 1 / 1.5) / 2)
    assert found["rope"].mean == pytest.approx((1 / 3 + 1 / 1.5) / 2)
    assert found["t5"].mean == pytest.approx((1 / 2 + 1) / 2)
    assert found["nopos"].deviation == pytest.approx((1 - 1 / 2) / 2**0.5)
    assert (found["nopos"].tasks, found["nopos"].repeated) == (2, 1)  # parity has one seed
    assert (found["t5"].tasks, found["t5"].repeated) == (1, 1)
    assert mean_reciprocal_ranks(runs()[:3], 0.95)["nopos"] == (1, 1, None, 1)
    assert mean_reciprocal_ranks(runs()[:1], 0.95) == {}  # alone it has no rank


def test_ranks_say_of_how_many_tasks_they_are():
    rows = [
        [cell.strip() for cell in row.split("|")[1:-1]]
        for row in report(runs(), 0.95).splitlines()[2:]
    ]
    assert {name: rank for name, _, _, rank in rows} == {
        "nopos": "0.708 ± 0.354 (of 1)",
        "t5": "0.750 (1 of 2 tasks) ± 0.354",
        "rope": "0.500 ± 0.000 (of 1)",
    }


def test_cells():
    made = [
        Run("nopos", "copy", seed, share, 0.2 * seed) for seed, share in ((1, 1), (2, 1), (3, 0))
    ]
    assert cell(made, 0.95) == "30.0 ± 14.1 (2 of 3 seeds)"
    assert cell(made[:1], 0.95) == "20.0" and cell(made[2:], 0.95) == "not learned"
    assert cell([], 0.95) == ""


def row(encoding, valid, test, seed=1, **problem):
    its = answered(encoding, (10, 5), seed, **problem)
    return {
        **its,
        "accuracy": {"valid": valid, "test": test},
        "data_sha256": its["problem"]["task"],
        "samples": None,
    }


def test_the_table(tmp_path, capsys):
    path = tmp_path / "answers.jsonl"
    rows = [row("rope", 0.99, 0.1), row("nopos", 1.0, 0.5), row("nopos", 1.0, 0.7, 2)]
    rows += [row("rope", 0.9, 0.9, task="parity", variant="plain", scratchpad="co"), rows[0]]
    path.write_text(lines(*rows))
    assert main([str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "| right beyond training (%) |    copy cmc | parity scratchpad co | mean reciprocal rank |",
        "| ------------------------- | ----------: | -------------------: | -------------------: |",
        "| nopos                     | 60.0 ± 14.1 |                      | 1.000 (1 of 2 tasks) |",
        "| rope                      |        10.0 |          not learned | 0.500 (1 of 2 tasks) |",
    ]
    assert main([str(path), "--learned", "0.9"]) == 0
    assert "not learned" not in capsys.readouterr().out


def test_two_trainings_that_the_table_cannot_tell_apart_are_refused(tmp_path, capsys):
    path = tmp_path / "answers.jsonl"
    other = {**row("rope", 1.0, 0.9), "checkpoint": "other.pt", "checkpoint_sha256": "other"}
    path.write_text(lines(row("rope", 1.0, 0.1), other))
    assert main([str(path)]) == 1
    said = capsys.readouterr().err
    assert "runs/rope-1/checkpoint_best.pt and other.pt are alike in encoding, task and" in said


@pytest.mark.parametrize("other", [{"data_sha256": "longer"}, {"samples": 10}])
def test_those_who_were_asked_other_questions_are_not_ranked(other, tmp_path, capsys):
    path = tmp_path / "answers.jsonl"
    path.write_text(lines(row("rope", 1.0, 0.1), {**row("nopos", 1.0, 0.5), **other}))
    assert main([str(path)]) == 1
    said = capsys.readouterr().err
    assert "(copy cmc, 1), and were asked other questions: rank one of them" in said
    path.write_text(lines(row("rope", 1.0, 0.1), {**row("nopos", 1.0, 0.5, 2), **other}))
    assert main([str(path)]) == 0  # of another seed: in no rank with it


@pytest.mark.parametrize(
    "text, sentence",
    [
        (None, "does not exist"),
        ("", "no results of nopos-evaluate-answers"),
        (lines(answered("nopos", (1,))), "a result is not whole (KeyError("),
        (lines(row("nopos", None, 0.5)), "not whole (TypeError(\"accuracy {'valid': None"),
        (lines(row("nopos", 1.0, float("nan"))), "is not whole (TypeError("),
        (lines(row("nopos", 1.0, 0.5, seed=None)), "is not whole (TypeError('trained_seed None"),
        (lines(row(["nopos"], 1.0, 0.5)), "is not whole (TypeError("),
    ],
)
def test_bad_input_is_a_sentence(text, sentence, tmp_path, capsys):
    path = tmp_path / "answers.jsonl"
    if text is not None:
        path.write_text(text)
    assert main([str(path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("nopos-rank: ") and sentence in said and said.count("\n") == 1
