"""Scratchpads: steps to an answer, written before it, in any choice of five components.

    Thinking step by step:  in 9, 1 comp 9 + 1 + carry = 10 + 0 = 10 out 0 [ carry: 1 ] re 9 + 0  #
    ... # in 0, 0 comp 0 + 0 + carry = 0 + 1 = 1 out 1 [ carry: 0 ] re  +   . Thus,  The answer ...

A choice is a text of their letters, in this order: i input, c computation, o output, v variables,
r remaining input. "" is no scratchpad.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

BEGIN, BETWEEN, END = "Thinking step by step: ", " # ", ". Thus, "
FORMS = {"i": "in {} ", "c": "comp {} ", "o": "out {} ", "v": "[ {} ] ", "r": "re {} "}
COMPONENTS = "".join(FORMS)
SCORES = {
    "i": "correct_inputs",
    "c": "correct_computations",
    "o": "correct_outputs",
    "v": "correct_intermediate_variables",
    "r": "correct_remaining_inputs",
}


class Step(NamedTuple):
    """The five components of a step. variables: each as `name: value`."""

    input: str
    computation: str
    output: str
    variables: tuple[str, ...]
    remaining: str

    def shown(self, component: str) -> str:
        """The text of a component, by its letter."""
        value = self[COMPONENTS.index(component)]
        return value if isinstance(value, str) else ", ".join(value)

    def normal(self):
        """Without blanks that do not count."""
        return Step(
            self.input.strip(),
            self.computation.strip(),
            self.output.strip(),
            tuple(one.strip() for one in self.variables),
            " ".join(self.remaining.split()),
        )


NAMES = dict(zip(COMPONENTS, Step._fields, strict=True))


def presets(task) -> dict[str, str]:
    """Components by the names of the study's choices, those that `task` has.

    full: all of them. minimal: computation and output. no-input and so on: all but one.
    """
    full = "".join(letter for letter in COMPONENTS if letter not in task.forbids)
    if not full:
        return {"none": ""}
    without = {f"no-{NAMES[letter]}": full.replace(letter, "") for letter in full}
    return {"none": "", "full": full, "minimal": "co", **without}


def chosen(text: str, task) -> str:
    """The components that `text` names for `task`: a preset, or five digits such as 01100, 1 for
    each that is shown. Raises ValueError for others, and for components that the task forbids."""
    known = presets(task)
    if text in known:
        return known[text]
    if len(known) == 1 and text != "0" * len(COMPONENTS):
        raise ValueError(f"--scratchpad {text}: {task.name} has no scratchpad; give none")
    if not re.fullmatch("[01]{5}", text):
        raise ValueError(
            f"--scratchpad {text}: {task.name} knows {', '.join(known)}, and five digits, 1 for "
            f"each that is shown of {', '.join(Step._fields)}"
        )
    components = "".join(c for c, digit in zip(COMPONENTS, text, strict=True) if digit == "1")
    for letter in components:
        if letter in task.forbids:
            raise ValueError(
                f"--scratchpad {text}: the steps of {task.name} have no {NAMES[letter]}; "
                f"digit {COMPONENTS.index(letter) + 1} must be 0"
            )
    return components


def render(steps: Sequence[Step], components: str) -> str:
    """The scratchpad of `steps`, up to the target; "" without components."""
    if not components:
        return ""
    texts = ("".join(FORMS[c].format(step.shown(c)) for c in components) for step in steps)
    return f"{BEGIN} {BETWEEN.join(texts)} {END} "


def parse(text: str, components: str) -> list[Step | None]:
    """The steps of the scratchpad in `text`, None for each that has another form; [] if there is
    no scratchpad, or it does not end."""
    begin, end = text.find(BEGIN), text.find(END)
    inside = text[begin + len(BEGIN) : end] if min(begin, end) >= 0 else ""
    return [parse_step(part, components) for part in inside.split(BETWEEN)] if inside else []


def parse_step(text: str, components: str) -> Step | None:
    """Each component is what is between its mark and the last mark of the next.

    DIFFERS from McGill-NLP/length-generalization@40f8a44 src/data/data_instance_processor: what
    follows the bracket of variables makes a step that cannot be parsed; there, it is passed over.
    """
    ends = [FORMS[c].replace(" ", "").split("{}") for c in components]
    first, last, rest = ends[0][0], ends[-1][1], text.strip()
    if not (rest.startswith(first) and rest.endswith(last)):
        return None
    rest = rest[len(first) : len(rest) - len(last)]
    values = {}
    # One mark at a time, from the end: all in one expression would take n^4 steps for n marks.
    for place in reversed(range(1, len(ends))):
        closing, mark = ends[place - 1][1], re.escape(ends[place][0])
        mark = rf"{re.escape(closing)}\s*{mark}" if closing else mark
        found = re.fullmatch(rf"(.*){mark}(.*)", rest, re.DOTALL)
        if found is None:
            return None
        rest, values[components[place]] = found.groups()
    values[components[0]] = rest
    i, c, o, v, r = (values.get(component, "") for component in COMPONENTS)
    return Step(i, c, o, tuple(v.split(",")) if v.strip() else (), r).normal()


def score(text: str, steps: Sequence[Step], components: str) -> dict[str, float]:
    """How much of the scratchpad in `text` is right, from 0 to 1.

    correct_inputs and so on, one for each of `components`, and correct_steps, of which all are:
    their share of `steps`, the gold ones; all are 0 if the number of steps is another or one cannot
    be parsed. failed_steps: those that cannot, over the gold ones; 1 without a scratchpad.
    """
    found = parse(text, components)
    failed = found.count(None) / len(steps) if found else 1.0
    right: list[dict[str, bool]] = []
    if len(found) == len(steps) and None not in found:
        for one, gold in zip(found, steps, strict=True):
            same = (a == b for a, b in zip(one or (), gold.normal(), strict=True))
            right.append(
                {c: hit for c, hit in zip(COMPONENTS, same, strict=True) if c in components}
            )
    shares = {SCORES[c]: sum(step[c] for step in right) / len(steps) for c in components}
    whole = sum(all(step.values()) for step in right) / len(steps)
    return {**shares, "correct_steps": whole, "failed_steps": failed}
