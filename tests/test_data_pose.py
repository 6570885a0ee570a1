"""PoSE's positions: golden cases, the laws of the paper, and datasets that forget nothing."""

import random
from collections import Counter

import numpy as np
import pytest
import tiny
import torch
from test_data_windowed import Words, lines

from nopos_plugin.data.pose import REACH, Chunk, Law, PoseDataset
from nopos_plugin.data.text import Text

GOLDEN = tiny.golden("pose_chunks")


class Scripted:
    """Draws that are told, and whose bounds are compared."""

    def __init__(self, draws):
        self.draws = list(draws)

    def randint(self, low, high):
        told = self.draws.pop(0)
        assert (low, high) == (told["low"], told["high"]), told
        return told["value"]


def tokens_and_positions(chunks):
    """Numbers of the tokens of an example, and their positions."""
    places = [(chunk, i) for chunk in chunks for i in range(chunk.length)]
    return [chunk.text + i for chunk, i in places], [chunk.position + i for chunk, i in places]


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["name"])
def test_golden_cases(case):
    law = Law("original", case["train_len"], case["target_len"])
    draw = Scripted(case["draws"])
    tokens, positions = tokens_and_positions(law.place(case["doc_len"], draw))
    assert [100 + token for token in tokens] == case["input_ids"]
    assert positions == case["position_ids"]
    assert draw.draws == []


@pytest.mark.parametrize("case", GOLDEN["seeded"]["cases"])
def test_golden_draws(case):
    law, draw = Law("original", case["train_len"], case["target_len"]), random.Random()
    draw.seed(case["python_random_seed"])
    for length, tokens, positions in zip(
        case["docs"], case["input_ids"], case["position_ids"], strict=True
    ):
        made = tokens_and_positions(law.place(length, draw))
        assert made == ([token - 100 for token in tokens], positions)


@pytest.mark.parametrize("case", GOLDEN["randpos_seeded"]["cases"])
def test_golden_randpos(case):
    law, draw = Law("randpos", case["train_len"], case["target_len"]), random.Random()
    draw.seed(case["python_random_seed"])
    tokens, positions = tokens_and_positions(law.place(30, draw))
    assert [100 + token for token in tokens] == case["input_ids"]
    assert positions == case["position_ids"]


def test_distances_come_as_often_as_published():
    golden = GOLDEN["coverage"]
    law, seen = Law("original", golden["train_len"], golden["target_len"]), Counter()
    for first in range(1, 5):
        for skip in range(9):
            draws = [(1, 4, first), (8, 8, 8), (0, 8, skip)]
            told = [dict(zip(("low", "high", "value"), draw, strict=True)) for draw in draws]
            _, positions = tokens_and_positions(law.place(8, Scripted(told)))
            seen.update({b - a for a in positions for b in positions if b > a})
    expected = golden["outcomes_containing_relative_distance"]
    assert {str(distance): count for distance, count in sorted(seen.items())} == expected


LAWS = [
    Law("original", 8, 64),
    Law("original", 8, 64, "contiguous"),
    Law("chunks", 8, 64),
    Law("chunks", 8, 64, "contiguous"),
    Law("chunks", 8, 64, "aligned"),
    Law("chunks", 8, 64, "free", 3),
    Law("chunks", 8, 64, "aligned", 8),
    Law("chunks", 8, 8, "free", 20),
    Law("randpos", 8, 64),
    Law("plain", 8, 64),
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: " ".join(map(str, law)))
@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 9, 41, 300])
def test_what_holds_for_every_law(law, length):
    furthest = 0
    for seed in range(300):
        chunks = law.place(length, random.Random(seed))
        tokens, positions = tokens_and_positions(chunks)
        assert len(tokens) == min(length, law.window)
        assert tokens[0] == 0 and tokens == sorted(set(tokens))  # the text is never repeated
        assert tokens[-1] < law.readable(length) <= length
        assert positions == sorted(set(positions)) and positions[-1] < law.target
        if law.name != "randpos":
            assert positions[0] == 0
        if law.chunk_text == "contiguous" or law.name in ("randpos", "plain"):
            assert tokens == list(range(len(tokens)))
        if law.chunk_text == "aligned" or law.name == "plain":
            assert tokens == positions
        furthest = max(furthest, positions[-1])
    if length >= 300 and law.target == 64:
        assert furthest == (7 if law.name == "plain" else 63)  # the last position is reached


def test_the_laws_of_the_paper():
    """Two chunks: l_0 in 1 .. L-1; u and v of their own. Three: l_1 in 1 .. L - l_0 - 1."""
    draws = [(1, 7, 3), (0, 56, 50), (0, 32, 9)]
    told = [dict(zip(("low", "high", "value"), draw, strict=True)) for draw in draws]
    assert Law("chunks", 8, 64).place(100, Scripted(told)) == [Chunk(0, 0, 3), Chunk(12, 53, 5)]
    draws = [(1, 6, 2), (1, 5, 4), (0, 56, 10), (10, 56, 30), (0, 32, 5), (5, 32, 6)]
    told = [dict(zip(("low", "high", "value"), draw, strict=True)) for draw in draws]
    assert Law("chunks", 8, 64, num_chunks=3).place(100, Scripted(told)) == [
        Chunk(0, 0, 2),
        Chunk(7, 12, 4),
        Chunk(12, 36, 2),
    ]
    # aligned chunks come from as far as positions go, not from five windows alone
    furthest = max(
        Law("chunks", 8, 64, "aligned").place(1000, random.Random(seed))[-1].text
        for seed in range(500)
    )
    assert furthest > REACH * 8


def dataset(items, law, seed=1, documents="lines", jump_loss=True, size=1000):
    text, words = Text(items), Words(size)
    return PoseDataset(
        text, text.documents(documents), law, words, words, seed, words.eos(), jump_loss
    )


def test_examples_are_documents_behind_an_opener():
    items = lines(1, 3, 60, 20)
    made = dataset(items, Law("plain", 8, 64))
    assert len(made) == 4 and made.sizes.tolist() == [2, 4, 8, 8]
    for index, item in enumerate(items):
        sample, whole = made[index], [2, *item.tolist()]
        length = min(len(whole), 8)
        assert sample["source"].tolist() == whole[:length]
        assert sample["target"].tolist() == [*whole[1:length], 0]
        assert sample["positions"].tolist() == list(range(length))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: " ".join(map(str, law)))
def test_sources_are_the_documents_tokens_at_their_places(law):
    items = lines(2, 5, 60, 20)
    made = dataset(items, law)
    for index, item in enumerate(items):
        sample, whole = made[index], [2, *item.tolist()]
        chunks = law.place(len(whole), random.Random(f"1 1 {index}"))
        tokens, positions = tokens_and_positions(chunks)
        assert sample["source"].tolist() == [whole[token] for token in tokens]
        assert sample["positions"].tolist() == positions
        assert sample["target"].tolist() == [*sample["source"].tolist()[1:], 0]


def test_the_token_across_the_jump_may_be_left_out():
    law = Law("chunks", 8, 64, num_chunks=3)
    with_it, without = (dataset(lines(60), law, jump_loss=jump)[0] for jump in (True, False))
    starts = [chunk.length for chunk in law.place(61, random.Random("1 1 0"))]
    first, second = starts[0] - 1, starts[0] + starts[1] - 1
    assert with_it["target"].ne(0).sum() == 7 and without["target"].ne(0).sum() == 5
    assert without["target"][[first, second]].tolist() == [0, 0]
    assert with_it["target"][[first, second]].ne(0).all()


def test_every_epoch_is_drawn_anew_and_alike_for_the_same_seed():
    law = Law("original", 8, 64)

    def drawn(seed, epoch):
        made = dataset(lines(60, 50, 40), law, seed)
        made.set_epoch(epoch)
        return [made[index]["positions"].tolist() for index in (2, 0, 1, 0)]

    assert drawn(1, 1) == drawn(1, 1)
    assert drawn(1, 1)[1] == drawn(1, 1)[3]
    assert len({str(drawn(seed, epoch)) for seed in (1, 2, 11) for epoch in (1, 2, 11)}) == 9


def test_batches_have_pads_behind_the_last_position():
    made = dataset(lines(1, 60), Law("original", 8, 64))
    batch = made.collater([made[0], made[1]])
    source, positions = batch["net_input"]["src_tokens"], batch["net_input"]["positions"]
    assert source.shape == positions.shape == batch["target"].shape == (2, 8)
    assert source[0, 2:].tolist() == [0] * 6 and batch["ntokens"] == 8
    assert positions[0, 2:].tolist() == [positions[0, 1]] * 6
    assert (positions.diff(dim=1) >= 0).all()
    np.random.seed(1)
    assert made.ordered_indices().tolist() == [0, 1]
    assert made.collater([]) == {}


def test_what_the_output_dictionary_has_not_is_unknown():
    made = dataset(lines(30), Law("plain", 8, 8))
    made.targets = Words(12)
    assert made[0]["target"].tolist() == [10, 11, 3, 3, 3, 3, 3, 0]
    assert torch.equal(made[0]["source"], torch.tensor([2, *range(10, 17)]))
