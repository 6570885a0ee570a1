"""Which documents are taken: trimming, weights, held-out ones and limits."""

from collections import Counter

import numpy as np
import pytest

from nopos_plugin.prepare import records
from nopos_plugin.prepare.choose import Choice, Lengths, Wanted, budgets, drawn, limits, mixture


def documents(**fields):
    meta = np.zeros(len(next(iter(fields.values()))), dtype=records.META)
    for name, values in fields.items():
        meta[name] = values
    return meta


def splits(wanted, meta, given=None, mixture=None, step=7):
    """Of `meta` in pieces of `step`."""
    lengths = Lengths()
    lengths.add(meta)
    choice = Choice(wanted, lengths.limits(wanted.trim), mixture)
    given = np.zeros(len(meta), dtype=np.int64) if given is None else np.array(given)
    pieces = [slice(i, i + step) for i in range(0, len(meta), step)]
    return np.concatenate([choice.splits(meta[p], given[p]) for p in pieces]).tolist()


@pytest.mark.parametrize(
    "trim, kept", [(0.0, range(100)), (0.01, range(1, 99)), (0.1, range(10, 90))]
)
def test_trim_leaves_that_share_out_at_each_end(trim, kept):
    counts = Counter({length: 1 for length in range(100)})
    assert limits(counts, trim) == (min(kept), max(kept))


def test_trim_never_takes_more_than_its_share():
    draw = np.random.default_rng(0)
    for trim in (0.01, 0.05, 0.3):
        lengths = draw.integers(1, 30, 500)
        least, most = limits(Counter(lengths.tolist()), trim)
        assert (lengths < least).mean() <= trim and (lengths > most).mean() <= trim
        assert (lengths <= least).mean() > trim and (lengths >= most).mean() > trim


def test_each_component_is_trimmed_on_its_own():
    meta = documents(characters=[1, 2, 3, 4, 100, 200, 300, 400], component=[0] * 4 + [1] * 4)
    assert splits(Wanted(trim=0.25), meta) == [-1, 0, 0, -1, -1, 0, 0, -1]


def test_the_first_are_held_out_and_limits_follow():
    meta = documents(tokens=[10] * 20, characters=[1] * 20)
    wanted = Wanted(valid_documents=3, test_documents=2, max_documents=4)
    assert splits(wanted, meta) == [1] * 3 + [2] * 2 + [0] * 4 + [-1] * 11
    wanted = Wanted(valid_documents=1, max_tokens=35)
    assert splits(wanted, meta) == [1] + [0] * 3 + [-1] * 16
    given = [1, 0, 2, 0] + [0] * 16
    assert splits(Wanted(max_documents=2), meta, given)[:5] == [1, 0, 2, 0, -1]


def test_short_documents_are_left_out():
    meta = documents(tokens=[5, 4, 6], characters=[1] * 3)
    assert splits(Wanted(min_tokens=5), meta) == [0, -1, 0]


def test_a_document_that_does_not_fit_is_passed_over():
    meta = documents(tokens=[10, 10, 900, 10, 31, 10, 10], characters=[1] * 7)
    assert splits(Wanted(max_tokens=50), meta, step=3) == [0, 0, -1, 0, -1, 0, 0]
    assert splits(Wanted(max_tokens=60), meta, step=2) == [0, 0, -1, 0, -1, 0, 0]
    assert splits(Wanted(max_tokens=61), meta, step=2) == [0, 0, -1, 0, 0, -1, -1]


def test_weights_are_of_tokens():
    wanted = Wanted(weights={0: 1.0, 1: 3.0})
    assert budgets({0: 1000, 1: 600, 2: 50}, wanted) == {0: 200, 1: 600}
    assert budgets({0: 1000, 1: 600}, wanted._replace(max_tokens=400)) == {0: 100, 1: 300}
    with pytest.raises(ValueError, match="component 1 has a weight, and no document"):
        budgets({0: 1000}, wanted)


@pytest.mark.parametrize("long", [1, 100, 50_000])
def test_a_mixture_has_the_tokens_that_are_wanted(long):
    """However long some documents are; and all along the order."""
    draw = np.random.default_rng(long)
    count = 20_000
    tokens = draw.integers(1, 20, count) * np.where(draw.random(count) < 0.02, long, 1)
    meta = documents(
        key=np.sort(draw.integers(0, 2**64, count, dtype=np.uint64)),
        tokens=tokens,
        characters=[1] * count,
        component=draw.integers(0, 3, count),
    )
    wanted = {0: 10_000, 1: 20_000}
    parts = mixture(wanted, lambda: (meta[i : i + 999] for i in range(0, count, 999)))
    found = splits(Wanted(weights={0: 1.0, 1: 2.0}), meta, mixture=parts, step=999)
    taken = np.array(found) == 0
    for component, budget in wanted.items():
        its = taken & (meta["component"] == component)
        assert 0.999 * budget - 1 <= tokens[its].sum() <= budget
        halves = its[: count // 2].sum(), its[count // 2 :].sum()
        assert 0.7 < halves[0] / halves[1] < 1.4
    assert not taken[meta["component"] == 2].any()


def test_a_mixture_may_be_all_there_is():
    meta = documents(key=[1, 2, 3], tokens=[5, 5, 5], characters=[1] * 3, component=[0, 0, 1])
    parts = mixture({0: 10, 1: 5}, lambda: [meta])
    wanted = Wanted(weights={0: 2.0, 1: 1.0})
    assert splits(wanted, meta, mixture=parts) == [0, 0, 0]
    assert splits(wanted, meta, mixture=mixture({0: 4, 1: 4}, lambda: [meta])) == [-1] * 3


def test_trim_of_a_share_that_binary_cannot_hold():
    assert limits(Counter({length: 1 for length in range(100)}), 0.29) == (29, 70)


def test_drawn_numbers_are_splitmix():
    # the first two numbers of SplitMix64 with seed 0 (Vigna, splitmix64.c)
    state = np.array([0, 0x9E3779B97F4A7C15], dtype=np.uint64)
    bits = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]
    assert drawn(state).tolist() == [b >> 48 for b in bits]
