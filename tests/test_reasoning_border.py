"""Questions and answers in tokens: none straddles the border, none is missing or idle."""

import random

import pytest
from reasoning import GENERATED, build

from nopos_plugin.data.reasoning import scratchpad
from nopos_plugin.data.reasoning.border import parted, vocabulary
from nopos_plugin.prepare import tokenizers


def split_by(name):
    """A function: text -> its tokens."""
    made = tokenizers.build(name)
    return lambda text: [token for part in made.split(text) for token in part]


KINDS = {name: split_by(name) for name in ("pieces", "characters")}


@pytest.mark.parametrize("name", [*GENERATED, "scan", "pcfg"])
@pytest.mark.parametrize("kind", KINDS)
def test_vocabularies(name, kind, tmp_path):
    """What is drawn has no other pieces; with words, has every piece."""
    task, split = build(name, tmp_path), KINDS[kind]
    for choice in presets_of(task):
        known = vocabulary(task, choice, split)
        assert known == sorted(set(known))
        seen = set()
        for example in some(task, 400 if kind == "pieces" else 20):
            source, target = parted(example.source, example.completion(choice), split)
            assert joined(source) == example.source.rstrip(" ")
            assert joined(target) == " " + example.completion(choice)
            seen.update(source, target)
        assert seen <= set(known)
        if kind == "pieces" and name not in ("copy/rsc", "copy/rsc2x", "scan", "pcfg"):
            assert seen == set(known)


def joined(tokens):
    return tokenizers.build("pieces").decode(tokens)


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
        name: len(vocabulary(build(name, tmp_path), "", KINDS["pieces"]))
        for name in ("copy/rsc", "copy/cmc", "parity", "scan", "pcfg")
    }
    assert sizes == {
        "copy/rsc": 6052 + 3,  # Copy : ▁[SEP]
        "copy/cmc": 100 + 3,  # Copy : ▁[SEP]; ▁: is another
        "parity": 21,
        "scan": 13 + 6 + 3,
        "pcfg": 10 + 520 + 1 + 3,
    }


def test_a_token_over_the_border_is_an_error():
    assert parted("a ", "b", KINDS["pieces"]) == (["a"], ["▁b"])
    assert parted("1", "2", KINDS["pieces"]) == (["1"], ["2"])
    assert parted("a  ", "b", KINDS["pieces"]) == (["a", "▁"], ["▁b"])
    with pytest.raises(
        ValueError, match="'prompt' and 'answer': a token is of both; name another --tok"
    ):
        parted("prompt", "answer", KINDS["pieces"])
    with pytest.raises(ValueError, match="a token is of both"):  # a tokenizer that merges digits
        parted("1 ", "2", lambda text: [text])


def test_what_begins_a_text_may_have_other_tokens():
    """As with SentencePiece's, which puts a blank before all."""
    assert parted("a ", "b", lambda text: KINDS["pieces"](" " + text)) == (["▁a"], ["▁b"])
    assert parted("a", "bc", lambda text: [f"^{text[0]}", *text[1:]]) == (["^a"], ["b", "c"])
