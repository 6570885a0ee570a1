"""A split of a data-bin as one text: its tokens by position, and where its documents begin."""

import numpy as np
import torch
from fairseq.data.indexed_dataset import MMapIndexedDataset

BOUNDARIES = ("none", "lines", "blank-lines")
CHUNK = 2**20  # tokens that are counted at a time


class Text:
    """The tokens of `items`, an indexed dataset of fairseq's, one after the other."""

    def __init__(self, items):
        self.items = items
        self.sizes = np.asarray(items.sizes, dtype=np.int64)
        self.ends = self.sizes.cumsum()
        self.joined = joined(items)

    def __len__(self):
        return int(self.ends[-1]) if len(self.ends) else 0

    def tokens(self, start, stop):
        """(stop - start,) int64"""
        if self.joined is not None:
            return torch.from_numpy(self.joined[start:stop].astype(np.int64))
        first = int(np.searchsorted(self.ends, start, side="right"))
        last = int(np.searchsorted(self.ends, stop, side="left"))
        parts = [self.items[number] for number in range(first, last + 1)] if start < stop else []
        begin = start - int(self.ends[first] - self.sizes[first]) if parts else 0
        joined = torch.cat(parts).long() if parts else torch.empty(0, dtype=torch.long)
        return joined[begin : begin + stop - start]

    def counts(self, num_symbols):
        """How often each symbol of a dictionary is there, (num_symbols,) int64."""
        counts = np.zeros(num_symbols, dtype=np.int64)
        for start in range(0, len(self), CHUNK):
            chunk = self.tokens(start, min(start + CHUNK, len(self))).numpy()
            counts += np.bincount(chunk, minlength=num_symbols)
        return counts

    def documents(self, boundaries):
        """Where they begin, and the end of the last, int64, for one of BOUNDARIES.

        none: the whole text is one. lines: each line. blank-lines: what blank lines part, which
        belong to the document before them.
        """
        if boundaries == "none":
            ends = self.ends[-1:]
        elif boundaries == "lines":
            ends = self.ends
        else:
            blank = self.sizes == 1
            ends = self.ends[blank & ~np.append(blank[1:], False)]
            ends = np.unique(np.append(ends, self.ends[-1:]))
        return np.insert(ends, 0, 0)


def joined(items):
    """All tokens as one array, where a file maps them so: an item may be long to copy; or None."""
    if not isinstance(items, MMapIndexedDataset):
        return None
    mapped = np.frombuffer(items._bin_buffer, dtype=items._index.dtype)
    starts = items._index._pointers
    ends = starts + items.sizes.astype(np.int64) * mapped.itemsize
    whole = len(items) and starts[0] == 0 and (starts[1:] == ends[:-1]).all()
    return mapped if whole and ends[-1] == mapped.nbytes else None
