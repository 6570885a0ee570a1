"""nopos-plot: every result is in the picture, told apart without colour, or nothing is written."""

import itertools
import json
import math
import os

import pytest

from nopos_plugin.cli.plot import main
from nopos_plugin.evaluation.results import PASSKEY, PERPLEXITY, PROBE, SHUFFLE
from nopos_plugin.plots import analyses, names, pictures, styles
from nopos_plugin.plots.beside import spread
from nopos_plugin.plots.comparable import panels
from nopos_plugin.plots.figure import figure
from nopos_plugin.plots.heat import depth

LENGTHS = (512, 1024, 4096, 16384)
# perplexity at each of the LENGTHS
TEN = {
    "alibi": (20.1, 19.8, 19.5, 19.1),
    "bipe_alibi": (20.3, 19.9, 19.4, 18.7),
    "bipe_rope": (20.2, 20.8, 22.1, 23.4),
    "kerple_log": (19.6, 19.2, 18.6, 17.8),
    "kerple_power": (19.8, 19.6, 19.3, 18.9),
    "learned": (20.9,),
    "nopos": (21.4, 34.2, 87.7, None),
    "rope": (19.5, 46.8, 270.0, 1553.0),
    "sinusoidal": (20.6, 124.0, 4450.0, math.inf),
    "t5": (19.3, 20.5, 22.9, 25.8),
}
PICTURES = ("perplexity.png", "perplexity.svg", "position.png", "position.svg")


def row(encoding, window, perplexity, stride="window", **changes):
    """A line of results.jsonl, of 100 tokens in the first half of the window, 300 in the other."""
    half, bits = window // 2, math.log2(perplexity or 1)
    worse = {"from": half, "to": window, "tokens": 300, "nats": 300 * min(bits, 99) * math.log(2)}
    made = {
        "result": PERPLEXITY.name,
        "checkpoint": f"runs/{encoding}/checkpoint_best.pt",
        "model_overrides": {},
        "position_encoding": encoding,
        "position_args": "",
        "trained_tokens": 512,
        "data": "data-bin/wikitext-103",
        "split": "valid",
        "window_tokens": window,
        "targets": "all",
        "perplexity_per_token": perplexity,
        "loss_by_position": [
            {"from": 0, "to": half, "tokens": 100, "nats": 900 * math.log(2)},
            worse,
        ],
    }
    if stride is not None:
        made["stride_tokens"] = window if stride == "window" else stride
    return {**made, **changes}


def ten():
    return [row(name, *pair) for name in TEN for pair in zip(LENGTHS, TEN[name], strict=False)]


def drawn(picture):
    """The figure, and of each panel the axes; the first ones are the sheet."""
    made = figure(*picture)
    return made, made.axes[0], made.axes[1:]


def labelled(artists, label):
    return [one for one in artists if one.get_label() == label]


def test_every_perplexity_is_a_point_or_a_number_above_the_frame():
    _, sheet, (axes,) = drawn(pictures.perplexity(ten()))
    top = axes.get_ylim()[1]
    assert 25.8 < top < 1.6 * 21.4  # those that explode do not squeeze the others
    for name, values in TEN.items():
        (points,) = labelled(axes.lines, f"points of {name}")
        inside = [(x, y) for x, y in zip(LENGTHS, values, strict=False) if y and y < top]
        assert list(zip(*points.get_data(), strict=True)) == inside
        said = [text.get_text() for text in labelled(sheet.texts, f"beyond of {name}")]
        assert said == [
            "n/a" if y is None else "∞" if y == math.inf else f"{y:g}"
            for y in values
            if not y or y >= top
        ]
        heights = labelled(axes.lines, f"line of {name}")[0].get_ydata()
        assert (top in heights) == any(y and y >= top for y in values)
    triangles = [line for line in sheet.lines if line.get_marker() == "^"]
    assert len(triangles) == sum(text.get_label().startswith("beyond") for text in sheet.texts) == 9


def test_texts_lie_neither_on_each_other_nor_in_a_frame():
    rows = ten() + [row(f"e{n}", 512 + n, 22.0 + n, stride=256) for n in range(25)]
    probed_rows = [probed(name, range(25), length=length) for name in TEN for length in (64, 512)]
    orders = [shuffled(name, (8, 16, 32, 64, 128), 1 + n / 9) for n, name in enumerate(TEN)]
    for picture in (
        pictures.perplexity(rows),
        pictures.position(rows),
        analyses.probe(probed_rows),
        analyses.shuffle(orders),
        analyses.segments(orders),
    ):
        made, sheet, axes = drawn(picture)
        made.draw_without_rendering()
        texts = [text for text in sheet.texts if text.get_text()]
        ticks = [[*one.get_xticklabels(), *one.get_yticklabels()] for one in axes]
        texts += [tick for some in ticks for tick in some if tick.get_text()]
        boxes = [text.get_window_extent() for text in texts]
        for one, other in itertools.combinations(range(len(texts)), 2):
            assert not boxes[one].overlaps(boxes[other]), (texts[one], texts[other])
        for text, box in zip(texts, boxes, strict=True):
            assert not any(box.overlaps(one.bbox) for one in axes), text
            assert made.bbox.containsx(box.x0) and made.bbox.containsx(box.x1), text
            assert made.bbox.containsy(box.y0) and made.bbox.containsy(box.y1), text


@pytest.mark.parametrize("picture", [pictures.perplexity, pictures.position])
def test_training_lengths_are_marked(picture):
    rows = [row("rope", 2048, 20.0), row("alibi", 2048, 20.0, trained_tokens=600)]
    _, sheet, (axes,) = drawn(picture(rows))
    assert [line.get_xdata()[0] for line in labelled(axes.lines, "trained")] == [512, 600]
    said = [text.get_text() for text in labelled(sheet.texts, "trained")]
    assert said == ["trained on 512", "trained on 600"]
    assert list(names.lines(rows).values()) == ["rope, trained on 512", "alibi, trained on 600"]
    assert not labelled(drawn(picture([row("a", 9, 9.0, trained_tokens=None)]))[2][0].lines, said)


def test_lines_differ_without_colour():
    looks = [styles.style(index) for index in range(styles.MOST)]
    assert len({(look.marker, look.filled, look.dashes) for look in looks}) == styles.MOST == 44
    assert "^" not in {look.marker for look in looks}  # it says that a line leaves the frame
    for one, other in itertools.pairwise(looks):
        assert one.color != other.color
        assert (one.marker, one.filled) != (other.marker, other.filled)
        assert one.dashes != other.dashes


def test_loss_is_drawn_in_the_middle_of_positions_of_the_longest_windows():
    rows = [row("rope", 512, 16.0), row("rope", 1000, 32.0), row("learned", 512, 16.0)]
    panels, note = pictures.position(rows)
    (panel,) = panels.values()
    assert (panel.title, note) == ("no overlap (stride = window), windows of 1000", "")
    rope, learned = panel.curves
    assert rope.name == "rope" and learned.name == "learned, windows of 512"
    # the first 500 positions, 1 to 500 as one counts; then 501 to 1000
    assert rope.points == [
        (pytest.approx(math.sqrt(1 * 500)), pytest.approx(9)),
        (pytest.approx(math.sqrt(501 * 1000)), pytest.approx(5)),
    ]
    rows[1]["loss_by_position"][1]["to"] = 1024  # a bucket of powers of two
    assert pictures.position(rows)[0] == panels


def test_last_tokens_are_not_by_position_and_a_note_says_so():
    last = row("rope", 512, 16.0, stride=None, targets="the last 256 of each 512")
    last["loss_by_position"] = last["loss_by_position"][1:]
    assert len(pictures.position([last])[0]) == 1
    made, note = pictures.position([last, row("rope", 512, 16.0)])
    assert [kind.targets for kind in made] == ["all"]
    assert note == "Not drawn, a point each: the last 256 of each 512 (wikitext-103, valid)"
    assert labelled(drawn((made, note))[1].texts, "note")[0].get_text() == note
    assert len(pictures.perplexity([last, row("rope", 512, 16.0)])[0]) == 2


OTHERS = {
    "data": "data-bin/pile",
    "split": "test",
    "documents": "lines",
    "opening": "window",
    "targets": "the last 256 of each 512",
    "stride_tokens": 256,
    "data_sha256": "5a1e",
}


@pytest.mark.parametrize("field", OTHERS)
def test_what_does_not_compare_is_on_panels_of_its_own(field):
    rows = [row("rope", 1024, 20.0), row("rope", 1024, 30.0, **{field: OTHERS[field]})]
    made, _ = pictures.perplexity(rows)
    assert [[y for _, y in one.points] for panel in made.values() for one in panel.curves] == [
        [20.0],
        [30.0],
    ]
    assert len({(panel.title, panel.about) for panel in made.values()}) == 2
    (frame, other) = [panel.frame for panel in made.values()]
    assert (frame == other) == (field == "stride_tokens")  # of the same tokens, so they compare


def test_a_line_of_strides_begins_with_the_window_of_that_length():
    rows = [row("rope", length, 20.0, stride=512) for length in (512, 1024, 2048)]
    assert [(key.stride, len(group)) for key, group in panels(rows).items()] == [(512, 3)]
    rows += [row("rope", 1024, 21.0), row("rope", 2048, 22.0, stride=256)]
    found = [(key.stride, len(group)) for key, group in panels(rows).items()]
    assert found == [("window", 2), (512, 3), (256, 1)]


@pytest.mark.parametrize(
    "changes, expected",
    [
        ([{}, {"position_encoding": None}], ["rope", "stock"]),
        (
            [{"position_args": "theta=1,scaling=no"}, {"position_args": "theta=2,scaling=no"}],
            ["rope, theta=1", "rope, theta=2"],
        ),
        (
            [
                {"position_args": "theta=1.0"},
                {
                    "position_args": "theta=1.0,scaling=ntk",
                    "model_overrides": {"position_args": "x"},
                },
                {"position_args": "theta=1.0,scaling=ntk", "extension": "PoSE to 2048"},
                {"position_args": "theta=1.0,scaling=ntk"},
            ],
            [
                "rope",
                "rope, scaling=ntk, at evaluation",
                "rope, PoSE to 2048",
                "rope, scaling=ntk",
            ],
        ),
        (
            [{}, {"model_overrides": {"attention_window": 9}}],
            ["rope", "rope, attention_window=9"],
        ),
        ([{"dtype": "float32"}, {"dtype": "float16"}], ["rope, float32", "rope, float16"]),
        (
            [{"checkpoint": "runs/a/1/best.pt"}, {"checkpoint": "runs/b/2/best.pt"}],
            ["rope, a/1", "rope, b/2"],
        ),
        (
            [{"checkpoint_sha256": "0123456789"}, {"checkpoint_sha256": "abcdefghij"}],
            ["rope, 01234567", "rope, abcdefgh"],
        ),
        ([{}, {"window_tokens": 9}, {"data": "elsewhere"}], ["rope"]),
    ],
)
def test_names_say_no_more_than_it_takes(changes, expected):
    rows = [{**row("rope", 1024, 20.0), **change} for change in changes]
    assert list(names.lines(rows).values()) == expected


def test_names_are_spread_around_what_they_want():
    assert spread([0.5, 2, 2, 9], 1, 0.5, 10) == [0.5, 1.5, 2.5, 9]
    assert spread([3, 3, 3], 1, 0, 10) == [2, 3, 4]
    assert spread([0, 0, 9, 9], 1, 0.5, 9) == [0.5, 1.5, 8, 9]


def found(checkpoint, length, *pairs, **changes):
    """A line of passkey.jsonl: (correct, trials) of fifths of the prompt."""
    by_depth = [
        {"from": place / 5, "to": (place + 1) / 5, "trials": trials, "correct": correct}
        for place, (correct, trials) in enumerate(pairs)
    ]
    made = {
        "result": PASSKEY.name,
        "checkpoint": checkpoint,
        "position_encoding": "rope",
        "trained_tokens": 256,
        "length_tokens": length,
        "by_depth": by_depth,
    }
    return {**made, **changes}


def test_passkeys_are_a_map_a_checkpoint():
    rows = [
        found("a", 256, (10, 10), (9, 10), position_args="theta=10000.0"),
        found("a", 1024, (1, 20), (0, 5), position_args="theta=10000.0"),
        found("a", 1024, (2, 5), position_args="theta=10000.0"),
        found("b", 512, (1, 4), position_args="theta=10000.0,scaling=yarn"),
    ]
    made = depth(rows)
    (sheet,) = made.axes
    assert [one.get_text() for one in labelled(sheet.texts, "name")] == [
        "rope",
        "rope, scaling=yarn",
    ]
    assert [one.get_text() for one in labelled(sheet.texts, "length")] == ["256", "1024", "512"]
    expected = ["95%", "10%", "100%", "12%", "90%", "0%", "25%", "25%"]  # 3 of 30; 3 of 25
    depths = [one.get_text() for one in labelled(sheet.texts, "depth")]
    assert depths == 2 * ["all depths", *(f"at {n}% to {n + 20}%" for n in range(0, 100, 20))]
    assert [one.get_text() for one in labelled(sheet.texts, "found")] == expected
    assert {one.get_text() for one in labelled(sheet.texts, "trained")} == {"trained on 256"}
    colors = [patch.get_facecolor() for patch in sheet.patches]
    assert len(colors) == 8
    by_share = sorted(zip([95, 10, 100, 12, 90, 0, 25, 25], map(sum, colors), strict=True))
    assert [c for _, c in by_share] == sorted((c for _, c in by_share), reverse=True)
    made.draw_without_rendering()
    inside = made.bbox
    for text in sheet.texts:
        box = text.get_window_extent()
        assert inside.x0 <= box.x0 and box.x1 <= inside.x1 and box.y1 <= inside.y1, text


def probed(encoding, errors, length=512, **changes):
    """A line of probe.jsonl: the mean error of the probe of each layer."""
    made = {
        "result": PROBE.name,
        "checkpoint": f"runs/{encoding}/checkpoint_best.pt",
        "position_encoding": encoding,
        "data": "data-bin/wikitext-103",
        "split": "valid",
        "train_split": "train",
        "length_tokens": length,
        "updates": 1000,
        "batch_tokens": 4096,
        "lr": 0.002,
        "seed": 1,
        "random_error_tokens": (length**2 - 1) / (3 * length),
        "layers": [
            {"layer": n, "error_tokens": error, "control_error_tokens": length / 3 + n}
            for n, error in enumerate(errors)
        ],
    }
    return {**made, **changes}


def test_probes_are_drawn_by_layer_with_chance_and_pale_controls():
    rows = [probed("nopos", (170.0, 130.0, 80.5)), probed("rope", (165.0, 120.0, 90.0, 140.0))]
    made, note = analyses.probe(rows)
    (panel,) = made.values()
    assert panel.title == "position probes, windows of 512" and "trained on shuffled labels" in note
    said = "wikitext-103, valid; 1000 updates of 4096 tokens, lr 0.002, seed 1"
    assert panel.about == said
    nopos, rope, chance = panel.curves
    assert nopos.points == [(0, 170.0), (1, 130.0), (2, 80.5)]
    assert rope.points[3] == (3, 140.0)
    assert chance.name == "random, 171"
    assert chance.points == [(n, pytest.approx(512 / 3, rel=1e-4)) for n in range(4)]
    assert [len(one.points) for one in panel.behind] == [3, 4]
    assert not panel.log_x and not panel.log_y
    low, high = panel.frame
    assert low < 0 and high > 512 / 3 + 3 and not panel.numbers()
    figure, sheet, (axes,) = drawn((made, note))
    assert axes.get_xscale() == axes.get_yscale() == "linear"
    (points,) = labelled(axes.lines, "points of nopos")
    assert list(zip(*points.get_data(), strict=True)) == nopos.points
    pale = labelled(axes.lines, "behind")
    assert [line.get_alpha() for line in pale] == [0.35] * 2
    assert [list(zip(*line.get_data(), strict=True)) for line in pale] == [
        [(n, 512 / 3 + n) for n in range(size)] for size in (3, 4)
    ]
    assert [text.get_text() for text in labelled(sheet.texts, "name")] == [
        "nopos", "rope", "random, 171"
    ]  # fmt: skip
    assert [axes.transData.transform((n, 0))[0] for n in range(4)] == pytest.approx(
        [figure.dpi * (sheet_left(axes, figure) + panel.across(n)) for n in range(4)], abs=0.5
    )


def sheet_left(axes, figure):
    """Inches from the left edge of the sheet to the frame."""
    return axes.get_position().x0 * figure.get_size_inches()[0]


@pytest.mark.parametrize(
    "change",
    [
        {"length_tokens": 64},
        {"updates": 9},
        {"batch_tokens": 9},
        {"lr": 0.1},
        {"seed": 2},
        {"train_split": "test"},
        {"split": "test"},
        {"data_sha256": "5a1e", "data": "data-bin/pile"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_probes_that_do_not_compare_are_on_panels_of_their_own(change):
    made, _ = analyses.probe([probed("rope", (9.0,)), probed("rope", (8.0,), **change)])
    assert [[one.points for one in panel.curves][0] for panel in made.values()] == [
        [(0, 9.0)],
        [(0, 8.0)],
    ]
    assert len({(panel.title, panel.about) for panel in made.values()}) == 2


def shuffled(encoding, sizes, more, **changes):
    """A line of shuffle.jsonl: 10 bits at the first prefix, `more` of them shuffled; eighths."""
    bit = math.log(2)
    made = {
        "result": SHUFFLE.name,
        "checkpoint": f"runs/{encoding}/checkpoint_best.pt",
        "position_encoding": encoding,
        "trained_tokens": 128,
        "data": "data-bin/wikitext-103",
        "split": "valid",
        "length_tokens": 128,
        "after_tokens": 1,
        "kept_tokens": 0,
        "samples": 100,
        "permutations": 1,
        "seed": 1,
        "by_prefix": [
            {
                "prefix_tokens": size,
                "tokens": 100,
                "nats": 100 * (10 - n) * bit,
                "shuffled_nats": 100 * (10 + more) * bit,
            }
            for n, size in enumerate(sizes)
        ],
        "by_eighth": [
            {"eighth": n, "tokens": 50, "nats": 50 * (5 + more + 1 / n) * bit} for n in range(1, 9)
        ],
    }
    return {**made, **changes}


def test_a_shuffled_prefix_has_a_bar_of_two_standard_errors():
    bit = math.log(2)
    errors = {8: 0.25 * bit, 32: 0.5 * bit, 128: None}  # None: of a single window
    row = shuffled("nopos", errors, 2)
    for one in row["by_prefix"]:
        one["difference_standard_error_nats_per_token"] = errors[one["prefix_tokens"]]
    made, note = analyses.shuffle([row])
    in_order, other = made.values()
    assert "two standard errors" in note and in_order.curves[0].ranges == ()
    bars = [pytest.approx((8, 11.5, 12.5)), pytest.approx((32, 11, 13))]
    assert list(other.curves[0].ranges) == bars
    assert in_order.frame == other.frame and other.frame[1] > 13


def test_prefixes_in_order_and_shuffled_stand_side_by_side():
    rows = [shuffled("nopos", (8, 32, 128), 2), shuffled("alibi", (8, 32, 128), 3)]
    made, note = analyses.shuffle(rows)
    first, second = made.values()
    assert (first.title, second.title, note) == ("prefix in order", "prefix shuffled", "")
    said = "100 windows, 1 order of each, 1 token after it, seed 1"
    assert first.about == second.about == f"wikitext-103, valid; {said}"
    assert [one.name for one in first.curves] == ["nopos", "alibi"]
    expected = [(8, 10), (32, 9), (128, 8)]
    assert all(one.points == [pytest.approx(x) for x in expected] for one in first.curves)
    assert [[y for _, y in one.points] for one in second.curves] == [
        pytest.approx([12] * 3),
        pytest.approx([13] * 3),
    ]
    assert first.frame == second.frame and first.frame[0] < 8 and first.frame[1] > 13
    assert first.trained == [128] and first.ticks == [8, 32, 128]
    _, _, axes = drawn((made, note))
    (left, right) = [one.get_position() for one in axes]
    assert left.y0 == right.y0 and left.x1 < right.x0
    assert axes[0].get_xscale() == "log"


def test_orders_that_do_not_compare_are_on_panels_of_their_own():
    others = [{"after_tokens": 2}, {"kept_tokens": 3}, {"permutations": 4}, {"samples": 9}]
    others += [{"seed": 5}, {"length_tokens": 256}]
    rows = [shuffled("rope", (8,), 1, **change) for change in ({}, *others)]
    made, _ = analyses.shuffle(rows)
    assert [len(panel.curves) for panel in made.values()] == [1] * 14
    assert "the last 3 kept, 1 token after it" in list(made.values())[4].about
    eighths, _ = analyses.segments(rows)
    assert [kind.length for kind in eighths] == [128, 256]  # the others are the same there


def test_segments_are_bits_an_eighth():
    rows = [shuffled("nopos", (8,), 0.5), shuffled("alibi", (8,), 3)]
    made, note = analyses.segments(rows)
    (panel,) = made.values()
    assert (panel.title, panel.about, note) == (
        "windows of 128, no overlap",
        "wikitext-103, valid",
        "",
    )
    nopos, alibi = panel.curves
    assert nopos.points == [(n, pytest.approx(5.5 + 1 / n)) for n in range(1, 9)]
    assert all(panel.beyond(y) for _, y in alibi.points)  # over 1 bit more than the best
    assert panel.ticks == list(range(1, 9)) and not panel.log_x


def test_analyses_as_files(tmp_path, capsys):
    path = tmp_path / "all.jsonl"
    path.write_text(lines(probed("rope", (9.0, 3.0)), shuffled("rope", (8, 16), 1)))
    assert main([str(path)]) == 0
    made = capsys.readouterr().out.split()
    assert [one[len(str(tmp_path / "all-")) :] for one in made] == [
        f"{name}.{ending}" for name in ("probe", "shuffle", "segments") for ending in ("png", "svg")
    ]
    for bad, said in (
        (probed("rope", ()), "no usable layers: not of nopos-probe"),
        (probed("rope", (-1.0,)), "no usable layers: error_tokens: "),
        (probed("rope", (1.0,), updates=0), "no usable updates: "),
        (shuffled("rope", (0,), 1), "no usable by_prefix: prefix_tokens: not of nopos-shuffle"),
        (shuffled("rope", (8,), 1, by_eighth=[3]), "no usable by_eighth: "),
    ):
        path.write_text(lines(bad))
        assert main([str(path)]) == 1
        assert said in capsys.readouterr().err


def test_a_file_of_either_kind_and_both_together(tmp_path, capsys):
    path = tmp_path / "mixed.jsonl"
    path.write_text(lines(row("rope", 512, 20.0), found("a", 256, (1, 2))))
    assert main([str(path)]) == 0
    made = capsys.readouterr().out.split()
    assert [one[len(str(tmp_path / "mixed-")) :] for one in made] == [
        *PICTURES,
        "depth.png",
        "depth.svg",
    ]
    path = tmp_path / "passkey.jsonl"
    path.write_text(lines(found("a", 256, (1, 2))))
    assert main([str(path)]) == 0
    assert len(capsys.readouterr().out.split()) == 2
    path.write_text(lines(found("a", 256, (1, 2), length_tokens="256")))
    assert main([str(path)]) == 1
    assert "no usable length_tokens: not of nopos-passkey" in capsys.readouterr().err
    path.write_text(lines(found("a", 256, (1, 0))))
    assert main([str(path)]) == 1
    assert "no usable by_depth: trials: " in capsys.readouterr().err
    path.write_text(lines(found("a", 256, (3, 2))))
    assert main([str(path)]) == 1
    assert "no usable by_depth: not of" in capsys.readouterr().err


def test_files(tmp_path, capsys):
    path = tmp_path / "results.jsonl"
    path.write_text("\n".join(map(json.dumps, [row("rope", 512, 20.0), row("t5", 512, math.inf)])))
    assert main([str(path)]) == 0
    wanted = [tmp_path / f"results-{name}" for name in PICTURES]
    assert capsys.readouterr().out.split() == list(map(str, wanted))
    assert main([str(path), str(path), "--output", str(tmp_path / "again")]) == 0
    assert len(list(tmp_path.iterdir())) == 9
    for one in wanted:  # from two copies of each result, too
        assert one.read_bytes() == (tmp_path / one.name.replace("results", "again")).read_bytes()
    assert wanted[0].read_bytes().startswith(b"\x89PNG") and b"<svg" in wanted[1].read_bytes()


def lines(*rows):
    return "\n".join(map(json.dumps, rows))


@pytest.mark.parametrize(
    "text, sentence",
    [
        (None, "results.jsonl does not exist"),
        ("", "results.jsonl holds no results"),
        ("\x89PNG", "results.jsonl, line 1, is no result of nopos-evaluate or nopos-passkey"),
        (
            lines(row("a", 9, 9.0), {"result": "other"}),
            "line 2, is no result of nopos-evaluate or nopos-passkey",
        ),
        (
            lines({"result": PERPLEXITY.name}),
            "line 1, has no usable checkpoint: not of nopos-evaluate",
        ),
        (lines(row("a", 0, 9.0)), "line 1, has no usable window_tokens: "),
        (
            lines(row("a", 9, 9.0, perplexity_per_token="9")),
            "line 1, has no usable perplexity_per_token: ",
        ),
        (lines(row("a", 9, 9.0, stride="9")), "line 1, has no usable stride_tokens: "),
        (lines(row("a", 9, 9.0, loss_by_position=[{}])), "no usable loss_by_position: from: "),
        (lines(row("a", 9, 9.0, loss_by_position=[])), "no usable loss_by_position: "),
        (lines(*(row(f"{n}", 9, 9.0) for n in range(45))), "45 lines: only 44 can be told apart"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_the_pictures(text, sentence, tmp_path, capsys):
    path = tmp_path / "results.jsonl"
    if text is not None:
        path.write_text(text, encoding="latin-1")
    for name in PICTURES:
        (tmp_path / f"results-{name}").write_text("old")
    assert main([str(path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("nopos-plot: ")
    assert sentence in captured.err and captured.err.count("\n") == 1
    assert [(tmp_path / f"results-{name}").read_text() for name in PICTURES] == ["old"] * 4
    assert len(list(tmp_path.iterdir())) == 4 + path.exists()


def test_what_cannot_be_written_leaves_the_pictures(tmp_path, capsys):
    path = tmp_path / "results.jsonl"
    path.write_text(lines(row("a", 9, 9.0)))
    (tmp_path / "results-perplexity.png").write_text("old")
    (tmp_path / f"results-position.svg.{os.getpid()}").mkdir()  # in the way of the last picture
    assert main([str(path)]) == 1
    assert "results-position.svg" in capsys.readouterr().err
    assert (tmp_path / "results-perplexity.png").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 3
    assert main([str(path), "--output", str(tmp_path / "nowhere" / "x")]) == 1
    assert "there is no folder" in capsys.readouterr().err
