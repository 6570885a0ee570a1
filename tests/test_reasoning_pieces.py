"""Texts as pieces: nothing is lost, nothing straddles the border, no piece is missing or idle."""

import random
import string

import pytest
from reasoning import GENERATED, build

from nopos_plugin.data.reasoning import scratchpad
from nopos_plugin.data.reasoning.pieces import (
    KINDS,
    border,
    characters,
    join,
    vocabulary,
    words,
)


@pytest.mark.parametrize(
    "text, pieces",
    [
        ("Compute 5 3 + 12?", "Compute ▁5 ▁3 ▁+ ▁1 2 ?"),
        ("a[SEP] b [SEP] c [NEXT]d", "a [SEP] ▁b ▁[SEP] ▁c ▁[NEXT] d"),
        ("[SEP [ SEP]", "[ SEP ▁[ ▁SEP ]"),
        ("in  6,  out   . Thus,", "in ▁ ▁6 , ▁ ▁out ▁ ▁ ▁. ▁Thus ,"),
        ("remove_first w6052 A1 7a ** _", "remove_first ▁w6052 ▁A1 ▁7 a ▁* * ▁_"),
        ("1's = -1.", "1 ' s ▁= ▁- 1 ."),
        (" ", "▁"),
        ("", ""),
    ],
)
def test_words(text, pieces):
    assert words(text) == pieces.split()
    assert join(words(text)) == text


def test_characters():
    assert characters("a 5[SEP] ") == list("a▁5[SEP]▁")


@pytest.mark.parametrize("split", KINDS.values(), ids=KINDS)
def test_nothing_is_lost(split):
    draw = random.Random(1)
    printable = [chr(code) for code in range(32, 127)]
    for _ in range(300):
        text = "".join(draw.choice([*printable, " ", "[SEP]", "[NEXT] "]) for _ in range(60))
        pieces = split(text)
        assert join(pieces) == text
        assert not any(set(piece) & set(string.whitespace) for piece in pieces) and "" not in pieces


@pytest.mark.parametrize("split", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("text", ["a ▁b", "a\nb", "a\tb", "é", "a\u00a0b", "\x7f"])
def test_characters_that_have_no_piece(split, text):
    with pytest.raises(ValueError, match="is not printable ASCII, and has no piece"):
        split(text)


@pytest.mark.parametrize("name", [*GENERATED, "scan", "pcfg"])
@pytest.mark.parametrize("kind", KINDS)
def test_vocabularies(name, kind, tmp_path):
    """What is drawn has no other pieces; with words, has every piece."""
    task, split = build(name, tmp_path), KINDS[kind]
    for choice in presets_of(task):
        known = vocabulary(task, choice, split)
        assert known == sorted(set(known))
        seen = set()
        for example in some(task, 400 if kind == "words" else 20):
            source, target = border(example.source, example.completion(choice), split)
            assert join(source) == example.source.rstrip(" ")
            assert join(target) == " " + example.completion(choice)
            seen.update(source, target)
        assert seen <= set(known)
        if kind == "words" and name not in ("copy/rsc", "copy/rsc2x", "scan", "pcfg"):
            assert seen == set(known)


def presets_of(task):
    return [chosen for name, chosen in scratchpad.presets(task).items() if name != "minimal"]


def some(task, count):
    if task.name in ("scan", "pcfg"):
        return [*task.examples("train"), *task.examples("test")]
    draw = random.Random(5)
    lengths = [*task.train, *task.test]
    return [task.draw(draw.choice(lengths), draw) for _ in range(count)]


def test_sizes_of_vocabularies(tmp_path):
    sizes = {
        name: len(vocabulary(build(name, tmp_path), "", words))
        for name in ("copy/rsc", "copy/cmc", "parity", "scan", "pcfg")
    }
    assert sizes == {
        "copy/rsc": 6052 + 3,  # Copy : ▁[SEP]
        "copy/cmc": 100 + 3,  # Copy : ▁[SEP]; ▁: is another
        "parity": 21,
        "scan": 13 + 6 + 3,
        "pcfg": 10 + 520 + 1 + 3,
    }


def test_a_piece_over_the_border_is_an_error():
    assert border("a ", "b", words) == (["a"], ["▁b"])
    assert border("1", "2", words) == (["1"], ["2"])
    assert border("a  ", "b", words) == (["a", "▁"], ["▁b"])
    with pytest.raises(
        ValueError, match="'prompt' and 'answer': a piece is of both; a source that"
    ):
        border("prompt", "answer", words)
    with pytest.raises(ValueError, match="a piece is of both"):  # a tokenizer that merges digits
        border("1 ", "2", lambda text: [text])
