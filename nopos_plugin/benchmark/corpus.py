"""Random bytes in sentences, and a data-bin of them."""

import torch
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import make_builder

SEGMENT = 20  # tokens of a sentence, on average: what BiPE's segments are made of


def dictionary():
    """260 types: fairseq's four, and the bytes, of which the first is the full stop."""
    made = Dictionary()
    for symbol in (".", *(f"<{byte:02x}>" for byte in range(1, 256))):
        made.add_symbol(symbol)
    return made


def tokens(rows, length, seed):
    """(rows, length) int64 of bytes, every SEGMENT-th of which is a full stop, by chance."""
    generator = torch.Generator().manual_seed(seed)
    first, end = Dictionary().nspecial, len(dictionary())
    drawn = torch.randint(first + 1, end, (rows, length), generator=generator)
    stops = torch.rand(rows, length, generator=generator) < 1 / SEGMENT
    return drawn.masked_fill(stops, first)


def write_data_bin(folder, rows, length, seed):
    """Make `folder` (a Path) a data-bin whose train split is `rows` lines of `length` tokens."""
    words = dictionary()
    words.save(str(folder / "dict.txt"))
    builder = make_builder(str(folder / "train.bin"), impl="mmap", vocab_size=len(words))
    drawn = tokens(rows, length, seed)
    drawn[:, -1] = words.eos()
    for row in drawn:
        builder.add_item(row)
    builder.finalize(str(folder / "train.idx"))
