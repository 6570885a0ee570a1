"""Pictures of nopos-attention."""

import pytest
from test_plots import lines

from nopos_plugin.cli.plot import main
from nopos_plugin.evaluation.results import ATTENTION
from nopos_plugin.plots.attention import attended, divergence
from nopos_plugin.plots.seeds import over_seeds


def attention(encoding, least, against="runs/nopos/checkpoint_last.pt"):
    """A line of attention.jsonl: of two layers, at lengths from 2 on."""
    distances = {"least_distance": 0.2, "matched_distance": 0.4} if against else {}
    shares = {"most_attended_shares": [0.5, *[0.0] * 18, 0.5]}  # nearby, or far
    return {
        "result": ATTENTION.name,
        "checkpoint": f"runs/{encoding}/checkpoint_last.pt",
        "position_encoding": encoding,
        "data": "data-bin/copy",
        "problem": {
            "task": "copy",
            "variant": "cmc",
            "scratchpad": "",
            "unit": "tokens",
            "train_lengths": [2, 3],
        },
        "against": against,
        "by_length": [
            {
                "length": length,
                "samples": length,
                "layers": [
                    {"layer": 1, "most_attended": 0.5, **shares, **distances},
                    {
                        "layer": 2,
                        "most_attended": 0.1 * length,
                        "most_attended_shares": [1.0, *[0.0] * 19],
                        **({**distances, "least_distance": its} if against else {}),
                    },
                ],
            }
            for length, its in enumerate(least, 2)
        ],
    }


def test_distances_by_length_are_means_over_layers():
    made, _ = divergence([attention("rope", (0.3, 0.5)), attention("t5", (0.1, 0.1))])
    least, matched = made.values()
    assert least.title == "copy, cmc, heads: least over pairs"
    assert least.about == "copy, against nopos/checkpoint_last.pt" and least.shaded == (2, 3)
    rope, t5 = least.curves
    assert rope.points == [(2, pytest.approx(0.25)), (3, pytest.approx(0.35))]
    assert t5.points == [(2, pytest.approx(0.15)), (3, pytest.approx(0.15))]
    assert matched.curves[0].points == [(2, 0.4), (3, 0.4)]
    assert least.frame == matched.frame


def test_how_far_back_by_layer_is_the_mean_over_samples():
    panel, often = attended([attention("rope", (0.3, 0.5))])[0].values()
    (curve,) = panel.curves
    assert curve.points == [(1, pytest.approx(0.5)), (2, pytest.approx((2 * 0.2 + 3 * 0.3) / 5))]
    (curve,) = often.curves
    assert (
        len(curve.points) == 20 and curve.points[0] == (2.5, 75) and curve.points[-1] == (97.5, 25)
    )
    assert {y for _, y in curve.points[1:-1]} == {0}


def test_how_far_back_is_the_same_whatever_it_is_compared_with():
    rows = [attention("nopos", (0.3,), against=None)]
    rows += [attention("rope", (0.3,), f"runs/{one}/checkpoint_last.pt") for one in ("nopos", "t5")]
    for some in (rows, over_seeds(rows)):
        for panel in attended(some)[0].values():
            assert [curve.name for curve in panel.curves] == ["nopos", "rope"]
            assert panel.about == "copy"


def test_seeds_are_one_line_each_against_its_own_model():
    rows = []
    for seed, (rope, nopos) in enumerate((((0.3, 0.5), (0.1, 0.1)), ((0.5, 0.9), (0.2, 0.3))), 1):
        for encoding, least in (("rope", rope), ("nopos", nopos)):
            rows.append(
                {
                    **attention(encoding, least, f"runs/nopos-{seed}/checkpoint_last.pt"),
                    "checkpoint": f"runs/{encoding}-{seed}/checkpoint_last.pt",
                    "against_position_encoding": "nopos",
                    "trained_seed": seed,
                }
            )
    assert len(divergence(rows)[0]) == 4  # two panels a seed
    least, matched = divergence(over_seeds(rows))[0].values()
    assert least.about == "copy, against nopos"
    rope, nopos = least.curves
    assert rope.points == [(2, pytest.approx(0.3)), (3, pytest.approx(0.45))]
    assert nopos.points == [(2, pytest.approx(0.175)), (3, pytest.approx(0.2))]
    assert matched.curves[0].points == [(2, pytest.approx(0.4)), (3, pytest.approx(0.4))]


def test_from_the_command_line(tmp_path, capsys):
    path = tmp_path / "attention.jsonl"
    path.write_text(lines(attention("rope", (0.3,), against=None)))
    assert main([str(path)]) == 0
    made = {one.name for one in tmp_path.iterdir()}
    assert made == {"attention.jsonl", "attention-attended.png", "attention-attended.svg"}
    path.write_text(lines(attention("rope", (0.3,))))
    assert main([str(path)]) == 0 and (tmp_path / "attention-divergence.png").exists()


@pytest.mark.parametrize(
    "name, broken",
    [
        ("most_attended", None),
        ("most_attended_shares", [0.5, 0.5]),
        ("most_attended_shares", ["0"] * 20),
        ("least_distance", None),
    ],
)
def test_a_layer_that_is_not_whole_is_a_sentence(name, broken, tmp_path, capsys):
    row = attention("rope", (0.3,))
    row["by_length"][0]["layers"][1][name] = broken
    refused(tmp_path, row, "layers", capsys)


def test_layers_that_are_none_are_a_sentence(tmp_path, capsys):
    row = attention("rope", (0.3,))
    for layers in ([], ["first"]):
        row["by_length"][0]["layers"] = layers
        refused(tmp_path, row, "layers", capsys)
    refused(tmp_path, attention("rope", (0.3,)) | {"problem": {}}, "problem", capsys)


def refused(folder, row, name, capsys):
    path = folder / "attention.jsonl"
    path.write_text(lines(row))
    assert main([str(path)]) == 1
    said = capsys.readouterr().err
    assert f"line 1, has no usable {name}: not of nopos-attention" in said and "Trace" not in said
