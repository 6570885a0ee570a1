"""Splits: sizes, draws that depend on nothing else, and validation that training has not seen."""

import pytest
from reasoning import GENERATED, build

from nopos_plugin.data import reasoning
from nopos_plugin.data.reasoning.splits import ENOUGH, SIZES, counts, held_out


def test_counts():
    assert counts(10_000, range(9, 17)) == dict.fromkeys(range(9, 17), 1250)
    assert counts(10, range(2, 6)) == {2: 2, 3: 3, 4: 2, 5: 3}
    assert counts(0, range(2, 4)) == {2: 0, 3: 0}
    assert counts(100, range(1, 5), lambda length: 2 * length - 1) == {1: 6, 2: 19, 3: 31, 4: 44}
    for size in (1, 19, 99_999, 100_000):
        made = counts(size, range(2, 21))
        assert sum(made.values()) == size and max(made.values()) - min(made.values()) <= 1


def test_an_equal_share_of_each_length():
    task = build("summation")
    for split, size, lengths in (("train", 70, range(2, 9)), ("test", 80, range(9, 17))):
        made = [example.length for example in task.examples(split, size)]
        assert made == [length for length in lengths for _ in range(10)]
    made = [example.length for example in build("addition").examples("test", 192 * 2)]
    assert [made.count(length) for length in range(9, 17)] == [
        2 * (2 * n - 1) for n in range(9, 17)
    ]


def test_the_studys_sizes_by_default():
    task = reasoning.build("copy", variant="cmc", test=range(1, 2))
    assert sum(1 for _ in task.examples("test")) == SIZES["test"] == 10_000
    lego = reasoning.build("lego", test=range(2, 3))
    assert sum(1 for _ in lego.examples("test")) == 15_000
    assert (SIZES["train"], SIZES["valid"]) == (100_000, 15_000)


@pytest.mark.parametrize("name", ["addition", "copy/cmc", "lego/permuted"])
def test_an_example_does_not_depend_on_how_many_there_are(name):
    task = build(name)
    few, many = (list(task.examples("train", size, seed=3)) for size in (64 * 19, 64 * 57))
    for length in task.train:
        some, more = ([e for e in made if e.length == length] for made in (few, many))
        assert 0 < len(some) < len(more) and more[: len(some)] == some
        assert task.at("train", length, 1, seed=3) == some[1]
    assert list(task.examples("train", 64, seed=3)) == list(task.examples("train", 64, seed=3))
    assert list(task.examples("train", 64, seed=3)) != list(task.examples("train", 64, seed=4))
    other = build(name, test=range(9, 12))
    assert list(other.examples("train", 64, seed=3)) == list(task.examples("train", 64, seed=3))


@pytest.mark.parametrize("name", GENERATED)
def test_nothing_that_is_trained_on_is_in_validation(name):
    """Neither in a test at the same lengths; where there are few examples, all are in both."""
    task = build(name)
    trained = {e.prompt for seed in (1, 2) for e in task.examples("train", 4000, seed)}
    inside = build(name, test=task.train)
    for split in (task.examples("valid", 300), inside.examples("test", 300)):
        for example in split:
            if task.space(example.length) >= ENOUGH:
                assert example.prompt not in trained and held_out(example.prompt)
    assert not any(
        held_out(e.prompt) for e in task.examples("train", 200) if task.space(e.length) >= ENOUGH
    )


def test_lengths_with_few_examples_have_all_of_them_in_every_split():
    parity = build("parity")
    for split in ("train", "valid"):
        made = [e.prompt for e in parity.examples(split, 5 * 200) if e.length == 4]
        assert len(made) == 200 and len(set(made)) == 16
    assert {e.prompt for e in parity.examples("valid", 1000) if held_out(e.prompt)} < {
        e.prompt for e in parity.examples("valid", 1000)
    }


def test_lengths_beyond_training_have_all_examples():
    made = [e.prompt for e in build("copy/cmc").examples("test", 400)]
    assert 20 < sum(map(held_out, made)) < 90


def test_spaces_are_counted():
    """By all that is drawn, where that is little."""
    for name, length, draws in (
        ("addition", 1, 2000),
        ("summation", 2, 1500),
        ("polynomial", 1, 2000),
        ("parity", 5, 500),
    ):
        task = build(name)
        found = {task.at("test", length, index, 1).prompt for index in range(draws)}
        assert len(found) == task.space(length)
    assert build("addition").space(2) == 10_000 - 100
    assert build("sorting/single").space(2) == 2500 and build("sorting/multi").space(2) == 9990**2
    assert (
        build("lego").space(4) == 26 * 25 * 24 * 23 * 2**4 * 2
        and build("copy/rsc").space(7) == 6052
    )
    assert build("copy/rdc").space(7) == 6006 and build("reverse").space(2) == 10_000


def test_about_an_eighth_is_held_out():
    """Apart from what is asked: as many with an even number of ones as with an odd one."""
    held = [bits for bits in range(2**12) if held_out(f"{bits:012b}")]
    assert abs(len(held) - 512) < 100
    assert abs(sum(bin(bits).count("1") % 2 for bits in held) - len(held) / 2) < 50
