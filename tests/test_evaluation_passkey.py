"""Passkey prompts and scoring, against golden cases of the published code."""

import json
import random
from pathlib import Path

import pytest

from nopos_plugin.evaluation import passkey
from nopos_plugin.evaluation.passkey import Passkey

GOLDEN = json.loads((Path(__file__).parent / "golden" / "passkey.json").read_text("utf-8"))


class Recorded(random.Random):
    """Gives the numbers that it is told, and keeps what it was asked for."""

    def __init__(self, *given):
        super().__init__(0)
        self.given, self.asked = list(given), []

    def randint(self, low, high):
        self.asked.append([low, high])
        return self.given.pop(0)


@pytest.mark.parametrize("case", GOLDEN["prompts"], ids=lambda case: str(case["passkey"]))
def test_prompts_and_their_draws_are_the_published_ones(case):
    draw = Recorded(case["prefix_repeats"], case["passkey"])
    made = passkey.drawn(passkey.published(case["max_tokens"]), draw)
    assert draw.asked == case["draw_ranges"]
    assert made.text() == case["prompt"]


def test_copies_of_the_filler_by_length():
    found = {one["max_tokens"]: passkey.published(one["max_tokens"]) for one in GOLDEN["lengths"]}
    assert found == {one["max_tokens"]: one["repeats"] for one in GOLDEN["lengths"]}
    assert passkey.published(69) == 0
    with pytest.raises(ValueError, match="--lengths 68: a prompt without filler counts as 69"):
        passkey.published(68)


def test_the_first_number_counts():
    for case in GOLDEN["scoring"]:
        assert passkey.right(case["response"], case["key"]) is case["pass"], case
    assert not passkey.right("", 0) and not passkey.right("١٢", 12)


def pairs(text):
    """Tokens of up to two characters that cross no newline: longer texts merge at other places."""
    return [line[i : i + 2] for line in text.splitlines(True) for i in range(0, len(line), 2)]


@pytest.mark.parametrize("encode", [str.split, list, pairs], ids=["words", "characters", "pairs"])
def test_exact_lengths(encode):
    bare = len(encode(Passkey(0, 0, passkey.KEYS).text()))
    join = " ".join if encode is str.split else "".join
    for length in [bare, bare + 1, bare + 7, *range(bare + 50, bare + 1200, 93)]:
        for seed in range(20):
            made = passkey.exact(length, encode, random.Random(seed))
            assert len(made.tokens) == length
            lines = join(made.tokens)
            told = Passkey(0, 0, made.key).parts()[2]
            for part in (passkey.TASK, told, passkey.QUESTION):
                assert part in lines
            before, after = (
                lines.replace(passkey.TASK, "").replace(passkey.QUESTION, "").split(told)
            )
            left = [len(part.strip("\n")) for part in (before, after)]
            if sum(left) > 100:
                assert made.depth == pytest.approx(left[0] / sum(left), abs=0.08)
    with pytest.raises(ValueError, match=f"has {bare} tokens, 9 more"):
        passkey.exact(bare - 9, encode, random.Random(0))


def test_keys_of_exact_lengths_are_told_anywhere():
    bare = len(Passkey(0, 0, passkey.KEYS).text())
    copy = len(passkey.FILLER)
    for copies in (1, 2, 5):
        draws = [
            passkey.exact(bare + copies * copy - 30, list, random.Random(seed))
            for seed in range(300)
        ]
        depths = [one.depth for one in draws]
        assert min(depths) == 0 and max(depths) == 1
        assert sum(depths) / 300 == pytest.approx(0.5, abs=0.06)


def test_depths():
    assert [Passkey(0, 0, 1).depth, Passkey(0, 4, 1).depth, Passkey(4, 0, 1).depth] == [0, 0, 1]
    assert Passkey(1, 3, 1).depth == 0.25
    found = passkey.by_depth([0, 0.1, 0.2, 0.99, 1], [True, False, True, False, True])
    assert found == [
        {"from": 0.0, "to": 0.2, "trials": 2, "correct": 1},
        {"from": 0.2, "to": 0.4, "trials": 1, "correct": 1},
        {"from": 0.8, "to": 1.0, "trials": 2, "correct": 1},
    ]


def test_lessons_have_any_number_of_words_on_either_side():
    sizes = set()
    for seed in range(300):
        draw = Recorded(*(random.Random(seed).choices(range(6), k=2)), 4711)
        draw.given[1] = min(draw.given[:2])
        words, before, _ = draw.given
        text = passkey.lesson(0, 5, draw)
        assert draw.asked == [[0, 5], [0, words], [1, 50000]]
        lines = text.split("\n")
        assert lines[0] == passkey.TASK and lines[4] == f"{passkey.QUESTION} 4711."
        assert lines[2] == Passkey(0, 0, 4711).parts()[2]
        assert [len(line.split()) for line in lines[1::2]] == [before, words - before]
        assert all(passkey.FILLER.startswith(line) for line in lines[1::2])
        sizes.add((before, words - before))
    assert len(sizes) > 15
    long = passkey.lesson(500, 500, random.Random(1)).split("\n")
    assert (passkey.FILLER * 30).startswith(long[1]) and (passkey.FILLER * 30).startswith(long[3])


def test_words_of_digits():
    text = Passkey(1, 0, 907).text()
    words = passkey.spaced(text).split()
    assert "is 9 0 7 . Remember it ." in " ".join(words) and "907" not in words
    assert "".join(words) == "".join(text.split())
    assert passkey.spaced(text).count("\n") == text.count("\n") == 4
    assert passkey.unspaced("is 9 0  7 . 1") == "is 907 . 1"
