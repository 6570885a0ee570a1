"""Windows as data: golden cases, stock fairseq's blocks and contexts, and nothing but indices."""

import math

import numpy as np
import pytest
import torch
from fairseq.data import MonolingualDataset, TokenBlockDataset
from fairseq.data.indexed_dataset import MMapIndexedDataset, make_builder
from fairseq.data.lm_context_window_dataset import LMContextWindowDataset
from test_evaluation_windows import CASES

from nopos_plugin.data.context import ContextDataset
from nopos_plugin.data.text import Text
from nopos_plugin.data.windowed import WindowedDataset
from nopos_plugin.evaluation.windows import LastOfEach, Sliding


class Words:
    """What a dictionary answers."""

    def __init__(self, size=1000):
        self.size = size

    def __len__(self):
        return self.size

    def pad(self):
        return 0

    def eos(self):
        return 2

    def unk(self):
        return 3


class Items(list):
    """What an indexed dataset answers."""

    @property
    def sizes(self):
        return np.array([len(item) for item in self])


def lines(*lengths):
    """Lines of so many tokens, counted up from 10 over all, each of which ends with </s>."""
    made, first = Items(), 10
    for length in lengths:
        made.append(torch.tensor([*range(first, first + length - 1), 2], dtype=torch.int32))
        first += length
    return made


def windowed(
    items, schedule, documents="none", opening="document", targets=None, opener=None, bos=None
):
    text = Text(items)
    words = Words()
    return WindowedDataset(
        text, text.documents(documents), schedule, words, targets or words, opening, opener, bos
    )


def test_the_text_is_its_lines_in_a_row():
    items = lines(3, 1, 5, 1, 1, 4)
    text, whole = Text(items), torch.cat(list(items)).long()
    assert len(text) == 15
    for start in range(16):
        for stop in range(start, 16):
            found = text.tokens(start, stop)
            assert found.dtype == torch.int64
            assert torch.equal(found, whole[start:stop])
    assert text.counts(30).tolist() == torch.bincount(whole, minlength=30).tolist()
    assert text.documents("none").tolist() == [0, 15]
    assert text.documents("lines").tolist() == [0, 3, 4, 9, 10, 11, 15]
    assert text.documents("blank-lines").tolist() == [0, 4, 11, 15]
    assert Text(lines(4, 1)).documents("blank-lines").tolist() == [0, 5]


@pytest.mark.parametrize(
    "name", [n for n, case in CASES.items() if not case["truncate"] and "defect" not in n]
)
def test_golden_cases(name):
    case = CASES[name]
    items = Items(torch.arange(100, 100 + length) for length in case["doc_lengths"])
    schedule = Sliding(case["context"] - 1, case["stride"])
    dataset = windowed(items, schedule, "lines", "window", opener=1)
    total = tokens = 0
    assert len(dataset) == len(case["windows"])
    for index, golden in enumerate(case["windows"]):
        sample = dataset[index]
        assert sample["source"].tolist() == golden["input"][:-1]
        scored = sample["target"] != 0
        assert sample["target"][scored].tolist() == golden["scored_tokens"]
        place = torch.arange(1, len(scored) + 1)[scored]
        loss = 1 + 0.1 * (sample["target"][scored] % 7) + 1 / place.double()  # the golden toy loss
        total, tokens = total + loss.sum().item(), tokens + int(scored.sum())
        assert tokens == sum(w["n"] for w in case["windows"][: index + 1])
    assert math.exp(total / tokens) == pytest.approx(case["ppl"], abs=1e-6)


def stock(items, block, mode="none"):
    """Stock fairseq's blocks."""
    blocks = TokenBlockDataset(
        items, items.sizes, block, pad=0, eos=2, break_mode=mode, include_targets=True
    )
    return MonolingualDataset(
        blocks, blocks.sizes, Words(), Words(), False, False, targets=["future"]
    )


def rows(batch):
    """{id: (input, target that is scored)} of a batch."""
    pairs = zip(batch["net_input"]["src_tokens"], batch["target"], strict=True)
    return {
        int(number): (source[source != 0].tolist(), target[target != 0].tolist())
        for number, (source, target) in zip(batch["id"], pairs, strict=True)
    }


def test_windows_without_overlap_are_stock_blocks():
    items = lines(3, 1, 9, 1, 4, 20)
    for size in (1, 4, 7, 50):
        blocks, mine = stock(items, size), windowed(items, Sliding(size, size))
        assert len(mine) == len(blocks)
        every = range(len(mine))
        expected = blocks.collater([blocks[i] for i in every])
        found = mine.collater([mine[i] for i in every])
        assert rows(found) == rows(expected)
        assert found["ntokens"] == expected["ntokens"] == 38


@pytest.mark.parametrize("context", [1, 3, 6, 40])
@pytest.mark.parametrize("mode", ["none", "complete", "eos"])
def test_context_is_that_of_stock_in_order(mode, context):
    items = lines(3, 1, 9, 1, 4, 20, 2)
    blocks = stock(items, 5, mode)
    theirs = LMContextWindowDataset(blocks, 5, context, pad_idx=0)
    mine = ContextDataset(blocks, 5, context, pad=0)
    for batch in ([[i] for i in range(len(blocks))], [list(range(len(blocks)))]):
        theirs.prev_tokens = np.empty([0])
        for indices in batch:
            expected = theirs.collater([blocks[i] for i in indices])
            found = mine.collater([mine[i] for i in indices])
            assert rows(found) == rows(expected)
            assert found["start_indices"] == expected["start_indices"]
            assert found["ntokens"] == expected["ntokens"]
    sizes = [len(mine[i]["source"]) for i in range(len(mine))]
    assert [mine.num_tokens(i) for i in range(len(mine))] == sizes


def test_windows_that_grow_are_stock_contexts():
    items = lines(3, 1, 9, 1, 4, 20, 2)
    for context, block in ((3, 2), (7, 1), (2, 9)):
        theirs = ContextDataset(stock(items, block), block, context, pad=0)
        mine = windowed(items, Sliding(context + block, block, first=block))
        assert len(mine) == len(theirs)
        for index in range(len(mine)):
            for name in ("source", "target"):
                assert torch.equal(mine[index][name], theirs[index][name])


def test_openings():
    items = lines(4, 3)
    mine = windowed(items, Sliding(2, 1), "lines", opener=1)
    assert [mine[i]["source"].tolist() for i in range(len(mine))] == [
        [1, 10], [10, 11], [11, 12], [1, 14], [14, 15]
    ]  # fmt: skip
    mine = windowed(items, Sliding(2, 1), "lines", "window", opener=1)
    assert [mine[i]["source"].tolist() for i in range(len(mine))] == [
        [1, 10], [1, 11], [1, 12], [1, 14], [1, 15]
    ]  # fmt: skip
    assert [mine[i]["target"].tolist() for i in range(len(mine))] == [
        [10, 11], [0, 12], [0, 2], [14, 15], [0, 2]
    ]  # fmt: skip


def test_a_bos_token_comes_before_all_and_is_not_scored():
    mine = windowed(lines(4, 3), Sliding(2, 1), "lines", bos=1)
    assert [mine[i]["source"].tolist() for i in range(len(mine))] == [
        [1, 2, 10], [1, 10, 11], [1, 11, 12], [1, 2, 14], [1, 14, 15]
    ]  # fmt: skip
    assert mine[1]["target"].tolist() == [0, 0, 12]
    assert mine.num_tokens(1) == 3


def test_a_pad_in_the_text_is_refused():
    items = Items([torch.tensor([4, 5, 0, 6, 7, 2])])
    mine = windowed(items, Sliding(2, 1))
    assert mine[0]["source"].tolist() == [2, 4]
    with pytest.raises(ValueError, match="token 2 of the text is a pad"):
        mine[1]


def test_a_long_line_is_not_copied_for_each_window(tmp_path):
    builder = make_builder(str(tmp_path / "x.bin"), impl="mmap", vocab_size=100)
    for length in (3, 5, 1, 4):
        builder.add_item(torch.arange(10, 10 + length))
    builder.finalize(str(tmp_path / "x.idx"))
    items = MMapIndexedDataset(str(tmp_path / "x"))
    text, whole = Text(items), torch.cat([items[i] for i in range(4)])
    assert text.joined is not None
    assert torch.equal(text.tokens(2, 12), whole[2:12])
    text.items = None
    assert torch.equal(text.tokens(0, 13), whole)


def test_a_sample_depends_on_its_index_alone():
    items, schedule = lines(3, 1, 9, 1, 4, 20), LastOfEach(9, 2, 12)
    first, second = windowed(items, schedule), windowed(items, schedule)
    forward = [first[i] for i in range(len(first))]
    backward = [second[i] for i in reversed(range(len(second)))][::-1]
    for one, other in zip(forward, backward, strict=True):
        assert torch.equal(one["source"], other["source"])
    assert [first.scored(i) for i in range(3)] == [(10, 12), (22, 24), (34, 36)]


def test_longest_first_and_sizes_count_the_context():
    mine = windowed(lines(3, 1, 9, 1, 4, 20), Sliding(8, 3), "lines")
    order = mine.ordered_indices()
    sizes = [len(mine[int(i)]["source"]) for i in order]
    assert sizes == sorted(sizes, reverse=True) == mine.num_tokens_vec(order).tolist()


def test_words_that_the_output_lacks_are_unknown():
    mine = windowed(lines(5, 3), Sliding(8, 8), targets=Words(12))
    assert mine[0]["target"].tolist() == [10, 11, 3, 3, 2, 3, 3, 2]
    assert mine[0]["source"].tolist() == [2, 10, 11, 12, 13, 2, 15, 16]
