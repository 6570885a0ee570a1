"""fairseq's memory-mapped dataset, written item by item in constant memory.

.bin    the tokens of all items, one after the other
.idx    "MMIDIDX\\0\\0", 1 (uint64), the code of the type of tokens (uint8), how many items
        (uint64), tokens of each (int32), where each begins in .bin (bytes, int64)
"""

import os
import struct
from pathlib import Path

import numpy as np
from fairseq.data.indexed_dataset import _dtype_header_code, best_fitting_int_dtype

MAGIC = b"MMIDIDX\x00\x00"
CHUNK = 2**20  # items whose sizes are in memory at a time


def dtype(num_symbols):
    """The type of tokens of a dictionary, as fairseq-preprocess chooses it."""
    return best_fitting_int_dtype(num_symbols)


class IndexedWriter:
    """Makes PREFIX.bin and PREFIX.idx, of tokens of a NumPy type.

    The files are whole after `close`, and not before.
    """

    def __init__(self, prefix, dtype):
        self.prefix, self.dtype = Path(prefix), dtype
        self.itemsize = np.dtype(dtype).itemsize
        self.data = self.path(".bin").open("wb")
        self.sizes = self.path(".sizes").open("w+b")
        self.items = self.tokens = 0

    def path(self, suffix):
        return self.prefix.with_name(self.prefix.name + suffix)

    def add(self, item):
        """item: the bytes of its tokens."""
        tokens = len(item) // self.itemsize
        self.data.write(item)
        self.sizes.write(struct.pack("<i", tokens))
        self.items += 1
        self.tokens += tokens

    def close(self):
        """Write the index."""
        with self.path(".idx").open("wb") as index:
            index.write(MAGIC + struct.pack("<QBQ", 1, _dtype_header_code(self.dtype), self.items))
            for sizes in self.chunks():
                index.write(sizes.tobytes())
            start = 0
            for sizes in self.chunks():
                ends = start + np.cumsum(sizes.astype(np.int64) * self.itemsize)
                index.write(np.concatenate([[start], ends[:-1]]).astype(np.int64).tobytes())
                start = int(ends[-1])
            settle(index)
        settle(self.data)
        self.data.close()
        self.sizes.close()
        self.path(".sizes").unlink()

    def chunks(self):
        """The sizes, int32, CHUNK at a time."""
        self.sizes.seek(0)
        while data := self.sizes.read(4 * CHUNK):
            yield np.frombuffer(data, dtype=np.int32)


def settle(file):
    """See that it is on the disk."""
    file.flush()
    os.fsync(file.fileno())
