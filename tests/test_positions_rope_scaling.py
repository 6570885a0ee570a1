"""The laws of RoPE scaling: golden values, the formulas retyped, and models that were extended."""

import logging
import math

import pytest
import tiny
import torch

from nopos_plugin.positions import get, rope_scaling
from nopos_plugin.positions.options import changed, parse

GOLDEN = tiny.golden("rope_scaling")
NAMES = {"ntk": "ntk", "yarn": "yarn_original", "yarn_pose": "yarn_revised"}
EVERY = [
    "scaling=linear,factor=8",
    "scaling=ntk,factor=8",
    "scaling=dynamic_ntk,factor=2,original_length=16",
    "scaling=yarn,factor=8,original_length=16",
    "scaling=yarn_paper,factor=8,original_length=16",
    "scaling=yarn_pose,factor=8,original_length=16",
    "scaling=llama3,factor=8,original_length=16",
    "scaling=longrope,factor=8,original_length=16,"
    "short_factors=1|1|1.5|2|2|2,long_factors=1|2|3|4|6|8",
]


def close(found, expected, rtol=1e-5):
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(found.double(), expected, rtol=rtol, atol=0)


@pytest.mark.parametrize("case", GOLDEN["inv_freq_sets"], ids=lambda c: f"{c['dim']}x{c['factor']}")
@pytest.mark.parametrize("law", NAMES)
def test_golden_frequencies(law, case):
    given = {"theta": case["base"], "dim": case["dim"], "factor": case["factor"]}
    if law != "ntk":
        given["original_length"] = case["original_length"]
    close(getattr(rope_scaling, law)(**given), case[NAMES[law]])
    close(rope_scaling.linear(case["base"], case["dim"], 1), case["plain"])
    assert rope_scaling.yarn_magnitude(case["factor"]) == pytest.approx(case["mscale"], rel=1e-6)


@pytest.mark.parametrize("case", GOLDEN["dynamic_ntk"], ids=lambda c: f"{c['dim']} {c['seq_len']}")
def test_golden_dynamic_frequencies(case):
    length = torch.tensor([case["seq_len"]])
    found = rope_scaling.dynamic_ntk(
        case["base"], case["dim"], case["factor"], case["max_position_embeddings"], length
    )
    close(found[0], case["inv_freq"])


def test_what_a_long_input_needed_is_not_kept():
    defect = GOLDEN["dynamic_ntk_original_defect"]
    arguments = f"scaling=dynamic_ntk,factor={defect['factor']},original_length=8"
    scaling = tiny.encoding("rope", arguments, head_dim=defect["dim"]).scaling
    for length, expected in ((14, "after_length_14"), (6, "after_init")):
        close(scaling.frequencies(torch.arange(length)[None])[0], defect[expected])
    rows = torch.stack([torch.arange(14), torch.arange(14).clamp(max=5)])
    short = scaling.frequencies(rows)[1]
    close(short, defect["after_init"])  # nor is one row's need another's


@pytest.mark.parametrize("row", GOLDEN["cos_sin"]["rows"], ids=lambda row: str(row["pos"]))
def test_golden_cos_and_sin(row):
    laws = {
        "plain": "",
        "linear8": "scaling=linear,factor=8",
        "ntk8": "scaling=ntk,factor=8",
        "yarn_revised8": "scaling=yarn_pose,factor=8,original_length=2048",
    }
    order = torch.tensor([[row["pos"]]])
    for name, arguments in laws.items():
        encoding = tiny.encoding("rope", arguments, head_dim=64)
        made = zip(("cos", "sin"), encoding.rotation(order, order), strict=True)
        for function, found in made:
            for pair in (0, 15, 31):
                expected = row[name][f"{function}[{pair}]"]
                angle = row["pos"] * 10_000 ** (-2 * pair / 64)  # of a float32 frequency there
                off = 1e-6 + 6e-8 * angle
                assert found[0, 0, 0, pair].item() == pytest.approx(expected, rel=1e-6, abs=off)


@pytest.mark.parametrize("row", GOLDEN["gptj"]["rows"], ids=lambda r: f"{r['type']} {r['pos']}")
def test_golden_partial_rotation_of_gptj(row):
    law = {"linear": "linear", "vanilla_ntk": "ntk", "yarn": "yarn"}[row["type"]]
    arguments = f"layout=interleaved,fraction=0.25,scaling={law},factor={row['scale']}"
    arguments += ",original_length=2048" if law == "yarn" else ""
    order = torch.tensor([[row["pos"]]])
    cos, sin = tiny.encoding("rope", arguments, head_dim=256).rotation(order, order)
    for pair in (0, 20):
        assert cos[0, 0, 0, pair].item() == pytest.approx(row[f"cos[{pair}]"], rel=1e-5, abs=1e-6)
        assert sin[0, 0, 0, pair].item() == pytest.approx(row[f"sin[{pair}]"], rel=1e-5, abs=1e-6)


def test_yarn_of_the_paper_and_llama3_retyped():
    """h = (1 - g) f/s + g f, g = (r - slow) / (fast - slow) in [0, 1], r = L f / (2 pi)."""
    for law, fast, slow in ((rope_scaling.yarn_paper, 32, 1), (rope_scaling.llama3, 4, 1)):
        expected = []
        for i in range(64):
            f = 500_000 ** (-2 * i / 128)
            g = (8192 * f / (2 * math.pi) - slow) / (fast - slow)
            g = min(1.0, max(0.0, g))
            expected.append((1 - g) * f / 8 + g * f)
        close(law(500_000, 128, 8, 8192), expected, rtol=1e-12)
    # of Llama 3.1 8B: theta 500000, factor 8, original length 8192, by wavelengths
    found = rope_scaling.llama3(500_000, 128, 8, 8192)
    plain = rope_scaling.unscaled(500_000, 128)
    wavelength = 2 * math.pi / plain
    assert torch.equal(found[wavelength < 2048], plain[wavelength < 2048])
    torch.testing.assert_close(found[wavelength > 8192], plain[wavelength > 8192] / 8)


def test_longrope_takes_each_pairs_factor_by_the_length():
    arguments = "scaling=longrope,factor=4,original_length=10,"
    arguments += "short_factors=1|1|2|2,long_factors=1|2|3|4"
    scaling = tiny.encoding("rope", arguments).scaling
    close(scaling.frequencies(torch.arange(10)[None])[0], [1, 0.1, 0.005, 0.0005])
    close(scaling.frequencies(torch.arange(11)[None])[0], [1, 0.1 / 2, 0.01 / 3, 0.001 / 4])
    assert scaling.magnitude == pytest.approx(math.sqrt(1 + math.log(4) / math.log(10)))


@pytest.mark.parametrize("arguments", EVERY)
def test_far_angles_are_those_of_float64(arguments):
    encoding = tiny.encoding("rope", arguments, head_dim=12)
    order = torch.tensor([[0, 131_072]])
    cos, sin = encoding.rotation(order, order)
    (frequencies,) = encoding.scaling.frequencies(order).tolist()
    for pair, frequency in enumerate(frequencies):
        for found, function in ((cos, math.cos), (sin, math.sin)):
            exact = encoding.scaling.magnitude * function(131_072 * frequency)
            assert found[0, 0, 1, pair].item() == pytest.approx(exact, abs=1.3e-7)


@pytest.mark.parametrize("arguments", EVERY)
@pytest.mark.parametrize("name", ["rope", "bipe_rope"])
def test_a_scaled_model_step_by_step_and_at_once(name, arguments):
    """Through the length where the angles change; and of the last tokens alone."""
    decoder = tiny.built(name, "--position-args", arguments).decoder
    tokens, cache, steps = tiny.tokens(2, 40), {}, []
    with torch.no_grad():
        whole = decoder(tokens)[0]
        last = decoder(tokens, last=5)[0]
        for seen in (*range(1, 20), 31, 40):
            stepped = decoder(tokens[:, :seen], incremental_state=cache)[0]
            alone = decoder(tokens[:, :seen])[0]
            steps.append((stepped[:, -1:], alone[:, -1:]))
    for stepped, alone in steps:
        tiny.assert_close(stepped, alone, 2e-5)
    tiny.assert_close(last, whole[:, -5:], 2e-5)


@pytest.mark.parametrize("law", [rope_scaling.yarn, rope_scaling.yarn_pose])
@pytest.mark.parametrize("dim, length", [(64, 3), (64, 2), (32, 3), (128, 4)])
def test_an_original_length_in_which_no_pair_turns_is_interpolated_whole(law, dim, length):
    made = law(1e4, dim, 8, length)
    expected = 1e4 ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim) / 8
    assert torch.allclose(made[1:], expected[1:], rtol=1e-12)  # at its edge a ramp keeps pair 0
    paper = rope_scaling.yarn_paper(1e4, dim, 8, length)
    assert torch.allclose(paper, expected, rtol=1e-12)


def test_bipes_length_is_counted_in_segments():
    arguments = "scaling=dynamic_ntk,factor=2,original_length=16"
    scaled, plain = (tiny.built("bipe_rope", "--position-args", a) for a in (arguments, ""))
    with torch.no_grad():
        for mine, other in zip(plain.parameters(), scaled.parameters(), strict=True):
            mine.copy_(other)
    tokens = torch.full((1, 60), 9)
    tokens[:, ::6] = 4  # ten segments
    assert torch.equal(tiny.logits(scaled, tokens), tiny.logits(plain, tokens))
    tokens[:, ::2] = 4  # thirty
    assert not torch.equal(tiny.logits(scaled, tokens), tiny.logits(plain, tokens))


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ("scaling=linear,factor=0.5", "factor=0.5: scaling is to longer inputs, by 1 or more"),
        ("scaling=linear,factor=inf", "factor=inf: "),
        ("scaling=yarn,factor=8", "original_length=0: scaling=yarn needs the length that"),
        ("scaling=dynamic_ntk,factor=2", "original_length=0: scaling=dynamic_ntk needs the length"),
        ("scaling=linear", "scaling=linear needs a factor: how many times as long inputs are"),
        ("scaling=yarn,original_length=64", "scaling=yarn needs a factor: "),
        ("scaling=yarn,factor=8,original_length=64,theta=1", "theta=1.0: scaling=yarn needs pairs"),
        ("short_factors=1|2", "short_factors=1.0|2.0: only scaling=longrope has a use for it"),
        ("scaling=YaRN", "scaling=YaRN: rope knows none, linear, ntk, dynamic_ntk, yarn"),
        ("factor=8", "factor=8.0: scaling=none has no use for it"),
        ("scaling=ntk,factor=8,original_length=64", "original_length=64: scaling=ntk has no use"),
        ("scaling=linear,factor=8,fast=9", "fast=9.0: scaling=linear has no use for it"),
        ("scaling=yarn,factor=2,original_length=9,slow=40", "fast=32,slow=40: scaling=yarn needs"),
        (EVERY[-1].replace("|8", ""), "long_factors=1.0|2.0|3.0|4.0|6.0: .* for each of the 6"),
        (EVERY[-1].replace("|8", "|0"), "long_factors=.*: scaling=longrope needs a positive"),
        (EVERY[-1].replace("|8", "|x"), "long_factors=x: rope wants a value of type float"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_a_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=f"^--position-args {sentence}".replace("|", r"\|")):
        tiny.encoding("rope", arguments, head_dim=12)


def test_an_encoding_without_rotations_is_not_scaled():
    with pytest.raises(ValueError, match="scaling=yarn: alibi has no option 'scaling'"):
        tiny.encoding("alibi", "scaling=yarn")


def test_a_model_that_was_trained_without_is_extended_and_the_log_says_so(caplog):
    plain = tiny.encoding("rope").state_dict()
    encoding = tiny.encoding("rope", EVERY[3])
    with caplog.at_level(logging.WARNING):
        encoding.load_state_dict(plain)
    assert (
        "position encoding rope changed since training: scaling=yarn (trained: none), "
        "factor=8.0, original_length=16"
    ) in caplog.text
    before = {"_extra_state": torch.tensor(list(b"rope theta=10000.0,layout=half parameters=0"))}
    caplog.clear()
    tiny.encoding("rope").load_state_dict(before)  # older than scaling, and than fraction
    assert not caplog.records
    assert "scaling=yarn,factor=8.0,original_length=16" in encoding.describe()
    assert "factor" not in tiny.encoding("rope").describe()


def test_another_law_forgets_what_belonged_to_the_one_before():
    trained = parse("theta=500,scaling=yarn,factor=8.0,original_length=16")
    rope = get("rope")
    assert changed(rope, trained, parse("scaling=none")) == parse("theta=500,scaling=none")
    assert changed(rope, trained, parse("scaling=linear,factor=4")) == {
        **{"theta": "500", "scaling": "linear", "factor": "4"}
    }
    assert changed(rope, trained, parse("factor=16"))["original_length"] == "16"
