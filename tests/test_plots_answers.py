"""The picture of answers by length; seeds as one line."""

import copy

import pytest
from test_plots import drawn, labelled, lines

from nopos_plugin.cli.plot import main
from nopos_plugin.evaluation.results import ANSWERS
from nopos_plugin.plots.answers import answers
from nopos_plugin.plots.seeds import over_seeds


def answered(encoding, right, seed=1, **problem):
    """A line of answers.jsonl: of 10 questions of each length from 2 on so many right."""
    return {
        "result": ANSWERS.name,
        "checkpoint": f"runs/{encoding}-{seed}/checkpoint_best.pt",
        "checkpoint_sha256": f"{encoding}{seed}",
        "position_encoding": encoding,
        "trained_seed": seed,
        "data": "data-bin/copy",
        "problem": {
            "task": "copy",
            "variant": "cmc",
            "scratchpad": "",
            "unit": "tokens",
            "train_lengths": [2, 3],
            "test_lengths": [4, 5],
            **problem,
        },
        "by_length": [
            {"length": length, "questions": 10, "right": its} for length, its in enumerate(right, 2)
        ],
    }


def test_accuracy_by_length_with_the_training_range_shaded():
    rows = [answered("nopos", (10, 10, 8, 3)), answered("alibi", (10, 9, 2, 0))]
    rows.append(answered("nopos", (10, 9), task="parity", variant="plain", scratchpad="co"))
    made = answers(rows)[0]
    assert [panel.title for panel in made.values()] == ["copy, cmc", "parity"]
    copying, parity = made.values()
    assert copying.about == "trained on 2 to 3 tokens"
    assert parity.about == "trained on 2 to 3 tokens, scratchpad co"
    assert copying.x_label == "length (tokens)" and copying.ticks == [2, 3, 5]
    _, _, axes = drawn((made, ""))
    (line,) = labelled(axes[0].lines, "points of nopos")
    assert line.get_xydata().tolist() == [[2, 100], [3, 100], [4, 80], [5, 30]]
    (shade,) = labelled(axes[0].patches, "shaded")
    assert (shade.get_x(), shade.get_width()) == (2, 1)
    assert axes[0].get_ylim()[0] < 0 and axes[0].get_ylim()[1] > 100


@pytest.mark.parametrize(
    "problem", [{}, {"task": 1}, {"train_lengths": [2]}, {"train_lengths": [2, None]}]
)
def test_a_problem_that_is_not_whole_is_a_sentence(problem, tmp_path, capsys):
    row = answered("nopos", (10, 4))
    row["problem"] = {**row["problem"], **problem} if problem else {}
    path = tmp_path / "answers.jsonl"
    path.write_text(lines(row))
    assert main([str(path)]) == 1
    said = capsys.readouterr().err
    assert "line 1, has no usable problem: not of nopos-evaluate-answers" in said


def test_a_length_of_two_splits_is_one_point():
    row = answered("nopos", (10, 4))
    row["by_length"].append({"length": 3, "questions": 30, "right": 0})
    for rows in ([row], over_seeds([row])):
        (curve,) = next(iter(answers(rows)[0].values())).curves
        assert curve.points == [(2, 100), (3, 10)] and curve.ranges == ()


def test_seeds_are_one_line_with_their_mean_and_range():
    rows = [answered("nopos", right, seed) for seed, right in ((1, (10, 4)), (2, (10, 7)))]
    rows.append(answered("rope", (10, 1)))
    (curve, other) = next(iter(answers(over_seeds(rows))[0].values())).curves
    assert curve.points == [(2, 100), (3, pytest.approx(55))]
    assert curve.ranges == ((3, 40, 70),)
    assert other.points == [(2, 100), (3, 10)] and other.ranges == ()


def test_two_trainings_of_one_seed_are_not_averaged(tmp_path, capsys):
    one = answered("nopos", (10, 4))
    other = {**one, "checkpoint": "other.pt", "checkpoint_sha256": "x"}
    path = tmp_path / "answers.jsonl"
    path.write_text(lines(one, other))
    assert main([str(path), "--over-seeds"]) == 1
    assert (
        "--over-seeds: other.pt, runs/nopos-1/checkpoint_best.pt are alike"
        in capsys.readouterr().err
    )


def test_from_the_command_line(tmp_path, capsys):
    path = tmp_path / "answers.jsonl"
    path.write_text(lines(answered("nopos", (10, 4))))
    assert main([str(path)]) == 0
    assert {one.name for one in tmp_path.iterdir()} == {
        *("answers.jsonl", "answers-answers.png", "answers-answers.svg")
    }
    broken = copy.deepcopy(answered("nopos", (10, 4)))
    broken["by_length"][1]["right"] = 11
    path.write_text(lines(broken))
    assert main([str(path)]) == 1
    assert "has no usable by_length: not of nopos-evaluate-answers" in capsys.readouterr().err
