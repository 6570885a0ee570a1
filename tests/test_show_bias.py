"""nopos-show-bias: every answer of an encoding is a retyped formula's, of its own parameters."""

import argparse
import itertools
import json
import math
import os
import re

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F

from nopos_plugin.cli.show_bias import main
from nopos_plugin.importers.assemble import unstarted
from nopos_plugin.plots.bias import Answer, figure, panels
from nopos_plugin.positions import registry
from nopos_plugin.positions.base import PositionEncoding
from nopos_plugin.positions.by_distance import curves, effective_lengths
from nopos_plugin.positions.rope import Rope

FAR = 2**20
SLOPES = {  # of 8 heads, and what 12 have more (golden values)
    8: [2.0**-n for n in range(1, 9)],
    12: [*(2.0**-n for n in range(1, 9)), 0.70710678, 0.35355339, 0.1767767, 0.08838835],
}


@pytest.fixture
def show(tmp_path, capsys):
    """show(*typed): status, lines of JSON and what was printed."""

    def run(*typed):
        status = main([*map(str, typed), "--output", str(tmp_path / "bias")])
        path = tmp_path / "bias.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()] if not status else []
        return status, rows, capsys.readouterr()

    return run


def saved(folder, arch, change=lambda encoding: None, *flags, **sizes):
    """A checkpoint of a tiny model, its encoding changed by `change`, without its data-bin."""
    cfg = tiny.config(f"transformer_lm_{arch}", *flags, **sizes)
    model = tiny.model(f"transformer_lm_{arch}", *flags, **sizes)
    with torch.no_grad():
        change(model.decoder.encoding)
    cfg.task.data = "nowhere"
    torch.save(unstarted(cfg, model.state_dict()), folder / f"{arch}.pt")
    return folder / f"{arch}.pt"


def at(row):
    """Distances and values of a line of JSON, float64."""
    pairs = ((float(x), value) for x, value in row["by_distance"].items())
    return (torch.tensor(one, dtype=torch.float64) for one in zip(*pairs, strict=True))


def by_answer(encoding, count):
    found = curves(encoding, count)
    return {
        name: [one for one in found if one.answer == name] for name in {c.answer for c in found}
    }


@pytest.mark.parametrize("heads", SLOPES)
def test_alibi(show, heads):
    status, rows, printed = show("alibi", "--heads", heads, "--distances", 2048)
    assert status == 0 and [row["head"] for row in rows] == list(range(heads))
    for row, slope in zip(rows, SLOPES[heads], strict=True):
        assert row["effective_length"] == math.floor(2 / slope) + 1
        distance, bias = at(row)
        assert distance.tolist() == [0, *(2**n for n in range(12))]
        torch.testing.assert_close(bias, -slope * distance, rtol=1e-7, atol=0)
        assert (row["unit"], row["layers"], row["checkpoint"]) == ("tokens", None, None)
    last = printed.out.splitlines()[heads].split()
    assert last[:5] == ["alibi", "bias", "all", f"{heads - 1}", f"{rows[-1]['effective_length']}"]
    assert "below -2 from: effective length, the first distance" in printed.out


@pytest.mark.parametrize("name", ["kerple_log", "kerple_power"])
def test_a_checkpoint_shows_its_own_kernels_by_layer(show, name, tmp_path):
    r1 = torch.tensor([[0.5, 1.0, 2.5, 0.3], [0.7, 1e-4, 1.9, 1.2], [0.5, 1.0, 2.5, 0.3]]).double()
    r2 = torch.tensor([[0.9, 0.5, 1.7, 0.8], [1.1, 0.1, 0.1, 1.5], [0.9, 0.5, 1.7, 0.8]]).double()
    flags = ("--position-args=per_layer=true", "--no-token-positional-embeddings")
    path = saved(
        tmp_path, name, lambda encoding: encoding.set_kernel(r1, r2), *flags, decoder_layers=3
    )
    status, rows, printed = show("--path", path)
    assert status == 0
    assert [(row["layers"], row["head"]) for row in rows] == [
        (layers, head) for layers in ([0, 2], [1]) for head in range(4)
    ]
    for row in rows:
        a, b = (r[row["layers"][0], row["head"]] for r in (r1, r2))
        at_2 = torch.expm1(2 / a) / b if name == "kerple_log" else (2 / a) ** (1 / b)
        assert row["effective_length"] == (at_2.floor() + 1 if at_2 < FAR else None)
        distance, bias = at(row)
        log, power = -a * torch.log(1 + b * distance), -a * distance**b
        expected = log if name == "kerple_log" else power
        torch.testing.assert_close(bias, expected, rtol=1e-5, atol=0)
        assert distance[-1] == 256 and row["trained_tokens"] == 64
    assert [row["effective_length"] for row in rows].count(None) == 1
    assert printed.out.count("nowhere") == 1 + 1  # and what that means


def test_what_training_made_of_it(show, checkpoints):
    path = checkpoints("kerple_log")
    state = torch.load(path)["model"]
    r1, r2 = (F.softplus(state[f"decoder.encoding.raw_r{n}"].double()) for n in (1, 2))
    _, rows, _ = show("--path", path, "--distances", 64)
    _, fresh, _ = show("kerple_log", "--heads", 4, "--distances", 64)
    for row, before, a, b in zip(rows, fresh, r1, r2, strict=True):
        distance, bias = at(row)
        torch.testing.assert_close(bias, -a * torch.log(1 + b * distance), rtol=1e-5, atol=0)
        assert row["effective_length"] == math.floor(math.expm1(2 / a) / b) + 1
        assert row["by_distance"]["64"] != pytest.approx(before["by_distance"]["64"], rel=1e-3)
        assert (row["seed"], before["seed"], row["layers"]) == (None, 1, None)


def test_t5(show, tmp_path):
    def buckets(encoding):
        encoding.weight.fill_(0.5)
        encoding.weight[17:, 0] = -2.5  # from 19 on
        encoding.weight[31, 1] = -2.01  # from 113 on
        encoding.weight[5, 2] = -2.0  # not below
        encoding.weight[0, 3] = -3.0

    _, rows, _ = show("--path", saved(tmp_path, "t5", buckets), "--distances", 300)
    assert [row["effective_length"] for row in rows] == [19, 113, None, 0]
    for row in rows:
        for text, value in row["by_distance"].items():
            d = int(text)
            bucket = d if d < 16 else min(31, 16 + math.floor(16 * math.log(d / 16) / math.log(8)))
            table = {0: -2.5 if bucket >= 17 else 0.5, 1: -2.01 if bucket == 31 else 0.5}
            table |= {2: -2.0 if bucket == 5 else 0.5, 3: -3.0 if bucket == 0 else 0.5}
            assert value == pytest.approx(table[row["head"]])


def turns(theta, dim, count):
    """cos of the angle of each plane by distance, (dim/2, count) float64."""
    frequencies = theta ** (-torch.arange(0, dim, 2).double() / dim)
    return torch.cos(frequencies.unsqueeze(1) * torch.arange(count))


@pytest.mark.parametrize("layout", ["half", "interleaved"])
def test_planes_of_a_rotation(layout):
    encoding = tiny.encoding("rope", f"theta=500,layout={layout},fraction=0.75", head_dim=16)
    (found,) = curves(encoding, 300)
    planes = torch.cat([turns(500, 12, 300), torch.ones(1, 300)])  # 4 channels do not turn
    torch.testing.assert_close(found.planes.double(), planes, rtol=0, atol=5e-7)
    mean = (2 * planes[:6].sum(0) + 4) / 16
    torch.testing.assert_close(found.values.double(), mean, rtol=0, atol=5e-7)
    assert (found.answer, found.head, found.layers) == ("rotation", None, None)


def test_rotations_are_scaled_as_they_are(show, tmp_path):
    _, (row,), _ = show("rope", "--head-dim", 32, "--distances", 512)
    _, values = at(row)
    mean = turns(10000, 32, 513).mean(0)
    torch.testing.assert_close(values[1:], mean[2 ** torch.arange(10)], rtol=0, atol=5e-7)
    (found,) = curves(tiny.encoding("rope", "scaling=linear,factor=8", head_dim=32), 513)
    torch.testing.assert_close(found.values[::8].double(), mean[:65], rtol=0, atol=5e-7)

    # a checkpoint's options, and others over them
    path = saved(tmp_path, "rope", lambda encoding: None, "--position-args=theta=100")
    _, (row,), _ = show("--path", path)
    mean = turns(100, 12, 257).mean(0)[256].item()
    assert row["by_distance"]["256"] == pytest.approx(mean, abs=5e-7)
    yarn = "scaling=yarn,factor=8,original_length=64"
    _, (row,), _ = show("--path", path, "--position-args", yarn)
    assert row["by_distance"]["0"] == pytest.approx((0.1 * math.log(8) + 1) ** 2)
    assert "theta=100.0" in row["position_args"] and "scaling=yarn" in row["position_args"]


def test_an_angle_by_length_is_that_of_the_input():
    args = "scaling=dynamic_ntk,factor=4,original_length=64"
    (found,) = curves(tiny.encoding("rope", args, head_dim=16), 257)
    theta = 10000 * (4 * 257 / 64 - 3) ** (16 / 14)
    torch.testing.assert_close(found.planes.double(), turns(theta, 16, 257), rtol=0, atol=5e-7)


def test_a_temperature_is_in_the_score(monkeypatch):
    monkeypatch.setattr(Rope, "logit_scale", 3.0)
    (found,) = curves(tiny.encoding("rope", head_dim=16), 9)
    torch.testing.assert_close(found.planes.double(), 3 * turns(10000, 16, 9), rtol=0, atol=2e-6)


def cosines(rows):
    """Mean cosine of two of `rows` (N, C) by distance, the long way."""
    unit = rows.double() / rows.double().norm(dim=1, keepdim=True)
    return torch.tensor([(unit @ unit.T).diagonal(d).mean() for d in range(len(unit))])


def test_what_is_added(show, tmp_path):
    path = saved(tmp_path, "learned", lambda one: one.weight.cumsum_(0))
    table = torch.load(path)["model"]["decoder.encoding.weight"][2:]
    _, (row,), _ = show("--path", path)
    distance, values = at(row)
    assert distance[-1] == 32  # of 63, where the table ends
    torch.testing.assert_close(values, cosines(table)[distance.long()], rtol=0, atol=1e-12)

    (found,) = curves(tiny.encoding("sinusoidal", embed_dim=32), 200)
    frequencies = 10000 ** (-torch.arange(16).double() / 15)
    mean = torch.cos(frequencies.unsqueeze(1) * torch.arange(200)).mean(0)
    torch.testing.assert_close(found.values, mean, rtol=0, atol=1e-5)


def test_segments_and_their_inside(show):
    bipe = tiny.encoding("bipe_alibi", "size=20", num_heads=4)
    *biases, inside = curves(bipe, 50)
    assert [one.effective_length for one in biases] == [1, 1, 2, 6]  # 96 / 4^n a segment
    assert inside.answer == "embedding"
    rows = bipe.weight.detach()[torch.arange(50).clamp(max=19)]
    torch.testing.assert_close(inside.values, cosines(rows), rtol=0, atol=1e-12)
    flags = ("--distances", 9, "--position-args", "separators=not in any dictionary")
    _, rows, _ = show("bipe_rope", "bipe_alibi", *flags)
    units = {(row["position_encoding"], row["answer"]): row["unit"] for row in rows}
    assert units == {
        ("bipe_rope", "rotation"): "segments",
        ("bipe_alibi", "bias"): "segments",
        ("bipe_rope", "embedding"): "tokens of a segment",
        ("bipe_alibi", "embedding"): "tokens of a segment",
    }
    _, _, printed = show("bipe_rope", "--distances", 9)
    assert "effective" not in printed.out  # it has none


THEIRS = """
from nopos_plugin.positions import PositionEncoding, register

@register("theirs")
class Theirs(PositionEncoding):
    accepts_given, order_counts = False, "turns"

    def bias(self, head, distance, layer):
        return -(head + 1.0) * (distance % 2) - layer * (distance > 70000)

    def rotate(self, q, k, rotation):
        return 2 * q, k
"""


def test_an_encoding_of_a_user(show, tmp_path, monkeypatch):
    monkeypatch.setattr(registry.ENCODINGS, "classes", dict(registry.ENCODINGS.classes))
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "__init__.py").write_text(THEIRS)
    flags = ("--heads", 3, "--layers", 2, "--head-dim", 4, "--distances", 5)
    status, rows, _ = show("theirs", *flags, "--user-dir", tmp_path / "theirs")
    assert status == 0
    found = [(row["layers"], row["head"], row["effective_length"]) for row in rows[:6]]
    # the layers differ where nothing is drawn; -2 is not below -2
    assert found == [
        *(([0], 0, None), ([0], 1, None), ([0], 2, 1)),
        *(([1], 0, None), ([1], 1, 70001), ([1], 2, 1)),
    ]
    values = [list(row["by_distance"].values()) for row in rows]
    assert values[2] == values[5] == [0, -3, 0, 0] and values[6] == [2] * 4
    assert (len(rows), rows[6]["answer"]) == (7, "rotation")
    assert {row["unit"] for row in rows} == {"turns"}


def test_the_first_distance_is_the_first_of_all_blocks():
    class Dips(PositionEncoding):
        name = "dips"

        def bias(self, head, distance, layer):
            first = torch.tensor([5, 65535, 65536, FAR - 1, FAR])[head]
            below = (distance == first) | (distance == 70000) & (head < 2)
            return torch.where(below, -2.0000005, -2.0)

    encoding = Dips(Dips.Config(), tiny.shape(num_heads=5))
    assert effective_lengths(encoding, 0).tolist() == [5, 65535, 65536, FAR - 1, FAR]


def answer(head, values, **changes):
    row = {
        "position_encoding": "x",
        "checkpoint": None,
        "trained_tokens": None,
        "answer": "bias",
        "layers": None,
        "head": head,
        "unit": "tokens",
        "effective_length": None,
        **changes,
    }
    return Answer(row, ["about"], np.asarray(values, dtype=float), None)


def artists(of, label):
    return [one for one in of if one.get_label().startswith(label)]


def test_a_line_a_head_with_its_mark():
    distance = np.arange(101)
    drawn = [
        answer(0, -0.5 * distance, effective_length=5),
        answer(1, -0.01 * distance, effective_length=201),  # farther than is drawn
        answer(2, 0 * distance),
        answer(3, -100.0 * distance, effective_length=1),  # lower than is drawn
        answer(4, np.where(distance < 7, 1.0, -3.0), effective_length=7),
    ]
    made = figure(panels(drawn, -2.0))
    sheet, axes = made.axes
    for line, one in zip(artists(axes.lines, "line"), drawn, strict=True):
        assert np.array_equal(line.get_xydata(), np.stack([distance, one.values], 1))
    marks = {one.get_label(): one.get_xydata().tolist() for one in artists(axes.lines, "mark")}
    assert marks == {
        "mark of head 0: 5": [[5, -2.5]],
        "mark of head 1: 201": [[100, -1]],
        "mark of head 2: nowhere": [[100, 0]],
        "mark of head 4: 7": [[7, -3]],
    }
    (level,) = artists(axes.lines, "level")
    assert set(level.get_ydata()) == {-2.0}
    assert -8.5 < axes.get_ylim()[0] < -8 and 1 < axes.get_ylim()[1] < 1.5
    names = [text.get_text() for text in artists(sheet.texts, "name")]
    assert names == ["head 0: 5", "head 1: 201", "head 2: nowhere", "head 3: 1", "head 4: 7"]
    assert artists(sheet.texts, "heading")[0].get_text() == "below -2 from"


def test_panels_are_of_a_checkpoint_its_layers_and_sixteen_heads():
    drawn = [
        answer(head, [0, -1], layers=layers, checkpoint=checkpoint)
        for checkpoint in ("a/x/y/z.pt", "b/x/y/z.pt")
        for layers in ([0, 2], [1])
        for head in range(17)
    ]
    made = panels(drawn, -2.0)
    assert [len(panel.lines) for panel in made] == [16, 1] * 4
    titles = ["x: bias, layers 0, 2"] * 2 + ["x: bias, layer 1"] * 2
    assert [panel.title for panel in made] == titles * 2


def test_a_map_is_the_mean_of_each_columns_distances():
    planes = np.stack([np.cos(np.arange(300) / speed) for speed in (1, 30)])
    one = answer(None, planes.mean(0), answer="rotation", trained_tokens=64)._replace(planes=planes)
    made = figure(panels([one], -2.0))
    sheet, axes, below, bar = made.axes
    (mesh,) = below.collections
    means, sides = mesh.get_array(), mesh.get_coordinates()[0, :, 0]
    assert np.array_equal(means[:, :35], planes[:, :35])  # 2^(1/24) of 36 is 37
    begin = 0
    for right, column in zip(sides[1:], means.T, strict=True):
        end = math.ceil(right) if right < 299 else 300
        np.testing.assert_allclose(column, planes[:, begin:end].mean(1), atol=1e-12)
        begin = end
    assert begin == 300 and 60 < means.shape[1] < 130
    assert mesh.get_clim() == (-1, 1) and below.yaxis_inverted()
    assert np.array_equal(artists(axes.lines, "line")[0].get_ydata(), planes.mean(0))
    assert artists(sheet.texts, "trained")[0].get_text() == "trained on 64"
    assert not artists(axes.lines, "level") and not artists(sheet.texts, "name")


@pytest.mark.parametrize("about", [["a"], ["a=b," * 25, "c/d/e"]], ids=["short", "long"])
def test_texts_lie_neither_on_each_other_nor_in_a_frame(about):
    distance = np.arange(2049)
    drawn = [answer(head, -distance / 2.0**head, trained_tokens=512) for head in range(16)]
    planes = np.cos(distance / np.array([[1], [9], [99]]))
    turning = answer(None, planes.mean(0), answer="rotation", trained_tokens=512)
    drawn += [turning._replace(planes=planes, about=about)]
    drawn += [answer(None, np.cos(distance / 500), answer="embedding", unit="segments")]
    made = figure(panels(drawn, -2.0))
    made.draw_without_rendering()
    sheet, *frames = made.axes
    texts = [text for text in sheet.texts if text.get_text()]
    for axis in (axis for one in frames for axis in (one.xaxis, one.yaxis)):
        low, high = sorted(axis.get_view_interval())
        ticks = zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=True)
        texts += [text for place, text in ticks if low <= place <= high and text.get_text()]
    boxes = [text.get_window_extent() for text in texts]
    for one, other in itertools.combinations(range(len(texts)), 2):
        assert not boxes[one].overlaps(boxes[other]), (texts[one], texts[other])
    for text, box in zip(texts, boxes, strict=True):
        assert not any(box.overlaps(one.bbox) for one in frames), text
        assert made.bbox.x0 <= box.x0 and box.x1 <= made.bbox.x1, text
        assert made.bbox.y0 <= box.y0 and box.y1 <= made.bbox.y1, text


def test_files(show, tmp_path):
    assert show("alibi", "t5", "--distances", 20)[0] == 0
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(files) == {"bias.png", "bias.svg", "bias.jsonl"}
    assert files["bias.png"].startswith(b"\x89PNG") and b"<svg" in files["bias.svg"]
    assert show("alibi", "t5", "--distances", 20)[0] == 0
    assert files == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / f"bias.svg.{os.getpid()}").mkdir()  # in the way
    assert show("alibi", "--distances", 30)[0] == 1
    (tmp_path / f"bias.svg.{os.getpid()}").rmdir()
    assert files == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    "typed, sentence",
    [
        ((), "name an ENCODING \\(alibi, .*t5\\), or a --path"),
        (("rop",), "--position-encoding rop: unknown encoding; known are alibi, "),
        (("nopos",), "nopos adds nothing, turns nothing and has no bias: there is nothing"),
        (("alibi", "--position-args", "theta=3"), "theta=3: alibi has no option 'theta'"),
        (("--path", "no.pt"), "--path no.pt: there is no such file"),
        (("--path", "{}/rope.pt", "--heads", 8), "leave --heads out"),
        (("--path", "{}/rope.pt", "--head-dim", 8), "leave --head-dim out"),
        (("--path", "{}/rope.pt", "alibi"), "leave ENCODING out"),
        (("--path", "{}/rope.pt", "--position-args", "slopes=x"), "rope has no option 'slopes'"),
        (("--path", "{}/nopos.pt"), "nopos adds nothing"),
        (("--path", "{}/text.pt"), "no whole file of PyTorch's .* no checkpoint of this plugin"),
        (("--path", "{}/list.pt"), "does not say what encoding it has; it is no checkpoint of"),
        (("--path", "{}/old.pt"), "old.pt holds argparse.Namespace; it is no checkpoint of"),
        (("--path", "{}/stock.pt"), "does not say what encoding it has; .*nopos-import"),
    ],
)
def test_mistakes_are_a_sentence_and_leave_no_file(typed, sentence, show, tmp_path):
    for name in {"rope", "nopos"} & {str(one)[3:-3] for one in typed}:
        saved(tmp_path, name)
    (tmp_path / "text.pt").write_text("text")
    torch.save([1], tmp_path / "list.pt")
    torch.save({"args": argparse.Namespace(), "model": {}}, tmp_path / "old.pt")
    torch.save({"cfg": {}, "model": {"decoder.version": torch.ones(1)}}, tmp_path / "stock.pt")
    before = set(tmp_path.iterdir())
    status, _, printed = show(*(str(one).format(tmp_path) for one in typed))
    assert (status, printed.out) == (1, "") and set(tmp_path.iterdir()) == before
    assert printed.err.count("\n") == 1 and re.search(sentence, printed.err), printed.err


def test_one_without_an_answer_leaves_the_others(show):
    status, rows, said = show("alibi", "nopos", "--heads", "2")
    assert (status, {row["position_encoding"] for row in rows}) == (0, {"alibi"})
    assert "nopos adds nothing, turns nothing and has no bias" in said.out


def test_no_such_folder_and_no_such_number(tmp_path, capsys):
    assert main(["alibi", "--output", str(tmp_path / "no" / "x")]) == 1
    assert f"there is no folder {tmp_path / 'no'}" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["alibi", "--distances", "0"])
