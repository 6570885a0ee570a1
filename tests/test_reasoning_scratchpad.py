"""Scratchpads: choices of components, and what is right in one that a model wrote."""

import itertools
import random
import re

import pytest
from reasoning import build

from nopos_plugin.data.reasoning import scratchpad
from nopos_plugin.data.reasoning.scratchpad import chosen, parse, presets, render, score

SUM = build("summation")
STEPS = SUM.example([3, 9, 8]).steps


def test_presets():
    assert presets(SUM) == {
        "none": "",
        "full": "icovr",
        "minimal": "co",
        "no-input": "covr",
        "no-computation": "iovr",
        "no-output": "icvr",
        "no-variables": "icor",
        "no-remaining": "icov",
    }
    for name in ("sorting", "lego"):
        assert presets(build(name)) == {
            "none": "",
            "full": "icor",
            "minimal": "co",
            "no-input": "cor",
            "no-computation": "ior",
            "no-output": "icr",
            "no-remaining": "ico",
        }
    assert presets(build("copy")) == presets(build("reverse")) == {"none": ""}


def test_any_choice_of_components_renders_and_is_read_again():
    shown = {
        "i": "in 9 ",
        "c": "comp 9 + sum = 9 + 3 = ",
        "o": "out 1 2 ",
        "v": "[ sum: 1 2 = 2 ] ",
        "r": "re 8 ",
    }
    choices = {
        "".join(digits): "".join(c for c, d in zip("icovr", digits, strict=True) if d == "1")
        for digits in itertools.product("01", repeat=5)
    }
    assert len(choices) == 32
    for digits, components in choices.items():
        assert chosen(digits, SUM) == components
        text = render(STEPS, components)
        if not components:
            assert text == ""
            continue
        assert text.startswith("Thinking step by step:  ") and text.endswith("  . Thus,  ")
        assert text.split(" # ")[1] == "".join(shown[c] for c in components)
        for read, step in zip(parse(text, components), STEPS, strict=True):
            for c, value, gold in zip("icovr", read, step.normal(), strict=True):
                assert value == (gold if c in components else type(gold)())
        perfect = score(text, STEPS, components)
        assert perfect.pop("failed_steps") == 0 and set(perfect.values()) == {1.0}


@pytest.mark.parametrize(
    "task, text, message",
    [
        ("sorting", "11111", "--scratchpad 11111: the steps of sorting have no variables; digit 4"),
        ("lego", "00010", "--scratchpad 00010: the steps of lego have no variables; digit 4 must"),
        ("lego", "no-variables", "lego knows none, full, minimal, no-input, no-computation, "),
        ("parity", "010", "parity knows none, .*, and five digits, 1 for each .* of input, comp"),
        ("copy", "full", "--scratchpad full: copy has no scratchpad; give none"),
        ("reverse", "01100", "--scratchpad 01100: reverse has no scratchpad; give none"),
    ],
)
def test_components_that_are_refused(task, text, message):
    with pytest.raises(ValueError, match=message):
        chosen(text, build(task))
    assert chosen("00000", build(task)) == ""


GOOD = render(STEPS, "icovr") + "The answer is 0 ."


def test_scores():
    """One wrong component of three steps, one after the other."""
    perfect = dict.fromkeys([*scratchpad.SCORES.values(), "correct_steps"], 1.0)
    assert score(GOOD, STEPS, "icovr") == {**perfect, "failed_steps": 0}
    for old, new, name in [
        ("in 9", "in 8", "correct_inputs"),
        ("comp 9 + sum = 9 + 3", "comp 9 + sum = 3 + 9", "correct_computations"),
        ("out 1 2", "out 1 3", "correct_outputs"),
        ("out 1 2", "out 12", "correct_outputs"),
        ("[ sum: 1 2 = 2 ]", "[ sum: 1 2 = 2, a: 1 ]", "correct_intermediate_variables"),
        ("re 9 + 8", "re 9 + 7", "correct_remaining_inputs"),
    ]:
        assert GOOD.count(old) == 1
        expected = {**perfect, name: 2 / 3, "correct_steps": 2 / 3, "failed_steps": 0}
        assert score(GOOD.replace(old, new), STEPS, "icovr") == expected, name


def test_blanks_that_do_not_count():
    text = GOOD.replace("re 9 + 8", "re   9  +  8").replace("in 9 comp", "  in   9comp")
    assert score(text.replace("[ sum: 1 2 = 2 ]", "[sum: 1 2 = 2]"), STEPS, "icovr") == score(
        GOOD, STEPS, "icovr"
    )
    inner = score(GOOD.replace("out 1 2", "out 1  2"), STEPS, "icovr")
    assert inner["correct_outputs"] == 2 / 3


def test_all_is_wrong_where_steps_cannot_be_told_apart():
    nothing = dict.fromkeys([*scratchpad.SCORES.values(), "correct_steps"], 0)
    cases = {
        GOOD.replace("out 1 2", "gives 1 2"): 1 / 3,
        GOOD.replace("comp", "Comp"): 1,
        GOOD.replace(" # in 9", " # # in 9"): 1 / 3,
        GOOD.replace(" # in 9", " in 9"): 0,  # two steps in place of three
        GOOD.replace(" # in 9", " # in 3 comp out [ ] re # in 9"): 0,  # four
        "The answer is 0 .": 1,
        "": 1,
        GOOD.replace(". Thus, ", ""): 1,
        GOOD.replace("Thinking step", "Step"): 1,
        ". Thus, " + GOOD: 1,
    }
    for text, failed in cases.items():
        assert score(text, STEPS, "icovr") == {**nothing, "failed_steps": failed}, text
    assert score(GOOD, STEPS, "co")["correct_computations"] == 0  # `icovr` is not `co`


def test_several_variables_and_lists_as_remaining_input():
    steps = [
        scratchpad.Step("1", "", "0", ("a: 1", "b: 2"), "[ 1, 1 ]"),
        scratchpad.Step("1", "x", "0", (), "[  ]"),
    ]
    text = render(steps, "icovr")
    assert "out 0 [ a: 1, b: 2 ] re [ 1, 1 ]  # in 1 comp x out 0 [  ] re [  ]  " in text
    assert parse(text, "icovr") == [step.normal() for step in steps]
    assert (
        score(text.replace("a: 1, b: 2", "b: 2, a: 1"), steps[:1] * 2, "icovr")[
            "correct_intermediate_variables"
        ]
        == 0
    )


def test_a_step_is_read_whole():
    text = render(STEPS, "icov")
    assert None not in parse(text, "icov")
    assert parse(text.replace("= 2 ]", "= 2 ] and so on"), "icov")[1] is None


def test_long_runs_of_blanks_are_read_in_no_time():
    text = render(STEPS, "icovr").replace("re 9", "r" + " " * 3000 + "e 9")
    assert parse(text, "icovr")[0] is None


def test_steps_of_many_marks_are_read_in_no_time():
    text = render(STEPS, "icovr").replace("in 9", "in 9 " + "comp 1 out 1 [ " * 2000, 1)
    assert None not in parse(text, "icovr")
    assert parse(text.replace("]", ""), "icovr") == [None] * 3


@pytest.mark.parametrize("components", ["icovr", "co", "v", "vr", "iv", "ir"])
def test_steps_are_read_as_by_one_expression(components):
    """Of short texts, where backtracking has an end."""
    forms = [re.escape(scratchpad.FORMS[c].replace(" ", "")) for c in components]
    whole = r"\s*".join(form.replace(r"\{\}", "(.*)") for form in forms) + r"\s*"
    draw, read = random.Random(3), 0
    parts = ["in", "comp", "out", "[", "]", "re", " ", "1", ","]
    for _ in range(3000):
        inside = "".join(draw.choices(parts, k=draw.randrange(10)))
        text = "".join(
            form.replace("{} ", "".join(draw.choices(parts, k=draw.randrange(4))))
            for form in (scratchpad.FORMS[c] for c in components)
        )
        cut = draw.randrange(len(text) + 1)
        text = text[:cut] + inside + text[cut:]
        found = re.fullmatch(whole, text.strip())
        step = scratchpad.parse_step(text, components)
        assert (found is None) == (step is None), text
        if found:
            read += 1
            values = dict(zip(components, found.groups(), strict=True))
            i, c, o, v, r = (values.get(one, "") for one in "icovr")
            gold = scratchpad.Step(i, c, o, tuple(v.split(",")) if v.strip() else (), r)
            assert step == gold.normal(), text
    assert read > 500
