"""nopos-plot --over-seeds: one line for all seeds, and bars; parts of windows on one panel."""

import json
import math

import pytest
from test_plots import drawn, labelled, row

from nopos_plugin.cli.plot import main
from nopos_plugin.plots.comparable import panels
from nopos_plugin.plots.pictures import perplexity
from nopos_plugin.plots.seeds import over_seeds


def trained(encoding, seed, window, value, stride="window", **changes):
    path = f"models/{encoding}-{seed}/checkpoint_last.pt"
    more = {"checkpoint": path, "checkpoint_sha256": f"{encoding}{seed}", "trained_seed": seed}
    return row(encoding, window, value, stride, **more, **changes)


def test_seeds_are_one_line_with_their_mean_and_range():
    values = {1: 10.0, 2: 14.0, 3: 12.0}
    rows = [trained("nopos", seed, 64, value) for seed, value in values.items()]
    rows += [trained("nopos", seed, 128, 9 + seed) for seed in values]
    rows += [trained("rope", 1, 64, 8.0), trained("rope", 1, 128, 9.0)]
    joined = over_seeds(rows)
    assert [(one["position_encoding"], one["window_tokens"]) for one in joined] == [
        ("nopos", 64),
        ("nopos", 128),
        ("rope", 64),
        ("rope", 128),
    ]
    assert [one["perplexity_per_token"] for one in joined] == [12, 11, 8, 9]
    assert [one["perplexity_range"] for one in joined] == [[10, 14], [10, 12], None, None]
    _, _, (axes,) = drawn(perplexity(joined))
    (line,) = labelled(axes.lines, "points of nopos")
    assert line.get_xydata().tolist() == [[64, 12], [128, 11]]
    bars = [tuple(bar.get_ydata()) for bar in labelled(axes.lines, "range of nopos")]
    highest = axes.get_ylim()[1]
    assert bars == [(10, min(14, highest)), (10, 12)]
    assert labelled(axes.lines, "range of rope") == []


def test_an_end_beyond_the_frame_has_no_cap():
    values = {16: (9, 9.4), 32: (9, 30), 64: (500, 700)}
    rows = [trained("nopos", n, size, pair[n]) for size, pair in values.items() for n in (0, 1)]
    rows += [trained("rope", 1, size, 20.0) for size in values]  # the frame is higher for it
    _, _, (axes,) = drawn(perplexity(over_seeds(rows)))
    first, second = labelled(axes.lines, "range of nopos")
    top = axes.get_ylim()[1]
    assert list(first.get_ydata()) == [9, 9.4] and first.get_markevery() == [0, 1]
    assert list(second.get_ydata()) == [9, top] and second.get_markevery() == [0]


def test_losses_by_position_are_those_of_all_seeds():
    rows = [trained("nopos", seed, 64, 10) for seed in (1, 2)]
    rows[1]["loss_by_position"] = [
        {**one, "nats": 3 * one["nats"]} for one in rows[0]["loss_by_position"]
    ]
    (joined,) = over_seeds(rows)
    for mean, one in zip(joined["loss_by_position"], rows[0]["loss_by_position"], strict=True):
        assert mean["nats"] / mean["tokens"] == pytest.approx(2 * one["nats"] / one["tokens"])


def test_no_perplexity_stays_none():
    (joined,) = over_seeds([trained("nopos", 1, 64, None), trained("nopos", 2, 64, 10)])
    assert joined["perplexity_per_token"] is None
    assert joined["perplexity_range"] == [10, math.inf]


def test_models_of_another_size_are_another_line():
    rows = [trained("nopos", seed, 64, 10, parameters=100 * seed) for seed in (1, 2)]
    assert [one["perplexity_range"] for one in over_seeds(rows)] == [None, None]


def test_two_trainings_of_one_seed_are_not_averaged(tmp_path, capsys):
    rows = [trained("nopos", 1, 64, 10), trained("nopos", 1, 64, 11)]
    rows[1] |= {"checkpoint": "other/checkpoint_last.pt", "checkpoint_sha256": "other"}
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    assert main([str(path), "--over-seeds"]) == 1
    said = capsys.readouterr().err
    assert "models/nopos-1/checkpoint_last.pt, other/checkpoint_last.pt are alike" in said
    assert [one.name for one in tmp_path.iterdir()] == ["results.jsonl"]
    assert main([str(path)]) == 0


def strides(found):
    return [kind.stride for kind in found]


def test_parts_of_windows_are_on_one_panel():
    eighths = [trained("nopos", 1, window, 10, window // 8) for window in (64, 128, 256)]
    whole = [trained("nopos", 1, window, 10) for window in (64, 128, 256)]
    found = panels(whole + eighths)
    assert strides(found) == ["window", "window/8"]
    (_, joined) = found
    assert joined.title() == "stride window/8" and found[joined] == eighths
    # of a stride in tokens, at all lengths, a panel stays
    fixed = [trained("nopos", 1, window, 10, 8) for window in (64, 128, 256)]
    assert strides(panels(whole + fixed)) == ["window", 8]
    found = panels(whole + eighths + fixed[1:])
    assert strides(found) == ["window", 8, "window/8"]
    assert [one["window_tokens"] for one in list(found.values())[1]] == [64, 128, 256]
    # nor is one length a line
    assert strides(panels(eighths[:1])) == [8]
