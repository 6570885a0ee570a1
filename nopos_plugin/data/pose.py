"""Positions up to a target length in windows that are short: PoSE and its relatives.

A law answers, for a document of so many tokens, which of them a training example has and where
they are said to sit. Positions of a chunk are consecutive, so each law shows a model distances of
the target length at the cost of its window (Zhu et al., 2024).
"""

import random
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from nopos_plugin.data.collate import collate
from nopos_plugin.data.sized import SizedDataset

REACH = 5  # windows of text, from the begin of a document, that chunks come from
CHUNK_TEXTS = ("free", "contiguous", "aligned")


class Chunk(NamedTuple):
    """`length` tokens of a document from `text` on, which sit at `position` and after."""

    text: int
    position: int
    length: int


class Law(NamedTuple):
    """What `place` needs, but for the document.

    window: tokens of an example, at most. target: positions, at least as many. chunk_text: where in
    the document the later chunks come from: anywhere, where the one before ends, or where their
    positions say. num_chunks: of the laws that do not say it themselves.
    """

    name: str
    window: int
    target: int
    chunk_text: str = "free"
    num_chunks: int = 2

    def place(self, length: int, draw: random.Random) -> list[Chunk]:
        """The chunks of an example from a document of `length` tokens, at least 1."""
        return LAWS[self.name](self, length, draw)

    def readable(self, length: int) -> int:
        """How many tokens of a document may be in an example."""
        most = self.target if self.chunk_text == "aligned" else REACH * self.window
        return min(length, most)


def original(law: Law, length: int, draw: random.Random) -> list[Chunk]:
    """As published: a first chunk of half the window at most, a second one further on in the text,
    its positions moved by a number of their own. Draws: length of the first, end of the second,
    skip (dwzhu-pku/PoSE@a3d4ba8 train_pose.py:156-187)."""
    length = law.readable(length)
    size = min(length, law.window)
    first = draw.randint(1, (size + 1) // 2)
    end = draw.randint(size, length) if law.chunk_text == "free" else size
    skip = draw.randint(0, law.target - size)
    return [Chunk(0, 0, first), Chunk(end - (size - first), first + skip, size - first)]


def chunks(law: Law, length: int, draw: random.Random) -> list[Chunk]:
    """As in the paper: chunk i is text from v_i on, at positions from u_i on, both never falling
    and 0 for the first. Draws: lengths, then skips u_i, then v_i (eq. 3 to 5)."""
    length = law.readable(length)
    size = min(length, law.window)
    number = min(law.num_chunks, size)
    lengths: list[int] = []
    for later in range(number - 1, 0, -1):
        lengths.append(draw.randint(1, size - sum(lengths) - later))
    lengths.append(size - sum(lengths))
    aligned = law.chunk_text == "aligned"
    most = (min(law.target, length) if aligned else law.target) - size
    skips = rising(number, most, draw)
    texts = {
        "free": lambda: rising(number, length - size, draw),
        "contiguous": lambda: [0] * number,
        "aligned": lambda: skips,
    }[law.chunk_text]()
    starts = np.cumsum([0, *lengths[:-1]]).tolist()
    places = zip(starts, texts, skips, lengths, strict=True)
    return [Chunk(start + text, start + skip, count) for start, text, skip, count in places]


def rising(number: int, most: int, draw: random.Random) -> list[int]:
    """0, then numbers up to `most`, each drawn from the one before on."""
    found = [0]
    for _ in range(number - 1):
        found.append(draw.randint(found[-1], most))
    return found


def randpos(law: Law, length: int, draw: random.Random) -> list[Chunk]:
    """The first window of text at sorted positions, any of the target's (Ruoss et al., 2023)."""
    size = min(length, law.window)
    positions = sorted(draw.sample(range(law.target), size))
    return [Chunk(text, position, 1) for text, position in enumerate(positions)]


def plain(law: Law, length: int, draw: random.Random) -> list[Chunk]:
    """The first window of text where it is: what interpolation alone is trained on."""
    return [Chunk(0, 0, min(length, law.window))]


LAWS: dict[str, Callable[[Law, int, random.Random], list[Chunk]]] = {
    "original": original,
    "chunks": chunks,
    "randpos": randpos,
    "plain": plain,
}


class PoseDataset(SizedDataset):
    """An example of each document of `text`, drawn anew every epoch from (seed, epoch, number).

    bounds: where documents begin, and the end of the last, as `Text.documents` gives them. law: of
    the positions. dictionary: of the input; what the `targets` dictionary has not, is unknown in
    the target. opener: the token before each document. jump_loss: whether the first token of a
    later chunk, which is predicted across the jump, is in the loss.
    """

    def __init__(self, text, bounds, law, dictionary, targets, seed, opener, jump_loss=True):
        self.text, self.bounds, self.law = text, bounds, law
        self.dictionary, self.targets = dictionary, targets
        self.seed, self.opener, self.jump_loss = seed, opener, jump_loss
        self.sizes = np.minimum(np.diff(bounds) + 1, law.window)
        self.epoch = 1

    @property
    def can_reuse_epoch_itr_across_epochs(self):
        """No: the processes that read would not be told of the next epoch."""
        return False

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __getitem__(self, index):
        """The tokens of an example, their positions, and the next token of the example as targets;
        the last one has none, as published."""
        begin, end = (int(x) for x in self.bounds[index : index + 2])
        draw = random.Random(f"{self.seed} {self.epoch} {index}")
        placed = [c for c in self.law.place(end - begin + 1, draw) if c.length]
        source = torch.cat([self.tokens(begin, chunk) for chunk in placed])
        positions = torch.cat([torch.arange(c.position, c.position + c.length) for c in placed])
        target = source.roll(-1)
        target[target >= len(self.targets)] = self.targets.unk()
        target[-1] = self.targets.pad()
        if not self.jump_loss:
            ends = torch.tensor([chunk.length for chunk in placed]).cumsum(0)
            target[ends - 1] = self.targets.pad()
        return {"id": index, "source": source, "target": target, "positions": positions}

    def tokens(self, begin, chunk):
        """Of a chunk of the document that begins at `begin`; its token 0 is the opener."""
        start = begin + chunk.text - 1
        found = self.text.tokens(max(start, begin), start + chunk.length)
        return torch.cat([torch.tensor([self.opener]), found]) if chunk.text == 0 else found

    def collater(self, samples):
        """A batch. What follows a row is a pad, at the position of its last token."""
        batch = collate(samples, self.dictionary.pad())
        if samples:
            rows, length = [s["positions"] for s in samples], batch["target"].size(1)
            filled = [torch.cat([row, row[-1:].expand(length - len(row))]) for row in rows]
            batch["net_input"]["positions"] = torch.stack(filled)
        return batch
