"""Tokenized documents in the order of keys that a seed draws: a shuffle that needs no memory.

A spool is a folder with two files a range of keys: NNN.meta, a record a document, and NNN.data, its
bytes. Ranges rise with NNN, so that one range after the other, each sorted, is all in order.
"""

from hashlib import blake2b
from pathlib import Path

import numpy as np

from nopos_plugin.prepare.disk import writing

BUCKETS = 256
CHUNK = 2**16  # records that are read at a time, where order does not matter
FLUSH = 2**26  # bytes in memory, before they go to the files
META = np.dtype(
    [
        ("key", "<u8"),
        ("size", "<u4"),  # bytes in .data
        ("tokens", "<u4"),
        ("characters", "<u4"),
        ("words", "<u4"),
        ("bytes", "<u4"),  # of the text
        ("component", "<u2"),
    ]
)


def key(seed, source, line):
    """A random number below 2^64 for the document at that line of the source of that name."""
    said = f"{seed} {line} {source}".encode(errors="surrogateescape")
    return int.from_bytes(blake2b(said, digest_size=8).digest(), "little")


def bucket(keys):
    """The number of the range of each key."""
    return (keys >> np.uint64(56)).astype(np.int64)


def by_bucket(meta, data):
    """[(number, records, their bytes)] of a batch: records `meta`, and `data` a list of bytes."""
    numbers = bucket(meta["key"])
    found = []
    for number in np.unique(numbers).tolist():
        members = np.flatnonzero(numbers == number)
        found.append((number, meta[members], b"".join(data[i] for i in members)))
    return found


class Spool:
    """Adds batches to the files in `folder`."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir()
        self.waiting, self.size = {}, 0  # {number: ([records], [bytes])}

    def add(self, parts):
        """parts: as of `by_bucket`."""
        for number, meta, data in parts:
            metas, datas = self.waiting.setdefault(number, ([], []))
            metas.append(meta.tobytes())
            datas.append(data)
            self.size += len(metas[-1]) + len(data)
        if self.size > FLUSH:
            self.flush()

    def flush(self):
        with writing(self.folder):
            for number, (metas, datas) in sorted(self.waiting.items()):
                for suffix, parts in (("meta", metas), ("data", datas)):
                    with open(self.folder / f"{number:03}.{suffix}", "ab") as file:
                        file.writelines(parts)
        self.waiting, self.size = {}, 0


def chunks(folder, number):
    """The records of a range of a spool, as they were written, CHUNK at a time."""
    path = Path(folder, f"{number:03}.meta")
    if path.exists():
        with path.open("rb") as file:
            while data := file.read(CHUNK * META.itemsize):
                yield np.frombuffer(data, META)


def metas(spools, number):
    """[records] of a range, of each of the `spools` (folders); none where it has no file."""
    paths = [Path(folder, f"{number:03}.meta") for folder in spools]
    return [np.fromfile(p, META) if p.exists() else np.empty(0, META) for p in paths]


def ordered(spools, number):
    """(records of a range in order, and of each the spool that it is in, and where in its data).

    Records of equal keys come as they were written.
    """
    each = metas(spools, number)
    joined = np.concatenate(each)
    spool = np.repeat(np.arange(len(each)), [len(one) for one in each])
    starts = [np.cumsum(one["size"], dtype=np.int64) - one["size"] for one in each]
    order = np.argsort(joined["key"], kind="stable")
    return joined[order], spool[order], np.concatenate(starts)[order].astype(np.int64)
