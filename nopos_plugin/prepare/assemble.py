"""Spools to the splits of a data-bin."""

from collections import Counter
from pathlib import Path

import numpy as np

from nopos_plugin.prepare import records
from nopos_plugin.prepare.choose import LEFT_OUT, SPLITS, Choice, Lengths, budgets, mixture
from nopos_plugin.prepare.indexed import IndexedWriter

COUNTED = ("tokens", "words", "bytes")
CHUNK = 2**16  # documents whose numbers are Python's at a time
OPEN = 128  # files at a time
UNNAMED = "no component of the Pile"


def choice(spools, given, wanted):
    """The Choice by what is in the `spools` that are not `given` to a split other than train."""
    free = [spool for spool, split in zip(spools, given, strict=True) if split == SPLITS[0]]
    limits = {}
    if wanted.trim:
        lengths = Lengths()
        for meta in all_records(free):
            lengths.add(meta)
        limits = lengths.limits(wanted.trim)
    made = unmixed = Choice(wanted, limits, None)

    def fitting():
        return (meta[unmixed.kept(meta)] for meta in all_records(free))

    if wanted.weights is not None:
        tokens: Counter = Counter()
        for meta in fitting():
            for component in np.unique(meta["component"]).tolist():
                of_it = meta["tokens"][meta["component"] == component]
                tokens[component] += int(of_it.sum(dtype=np.int64))
        made = Choice(wanted, limits, mixture(budgets(tokens, wanted), fitting))
    held_out = [wanted.valid_documents, wanted.test_documents]
    if any(0 < share < 1 for share in held_out):
        documents = sum(int(made.kept(meta).sum()) for meta in all_records(free))
        held_out = [max(1, int(x * documents)) if 0 < x < 1 else x for x in held_out]
    wanted = wanted._replace(valid_documents=held_out[0], test_documents=held_out[1])
    return Choice(wanted, limits, made.mixture)


def all_records(spools):
    """Records, some at a time."""
    for folder in spools:
        for number in range(records.BUCKETS):
            yield from records.chunks(folder, number)


def ranges(spools, given, choice, shuffled):
    """(records, their splits, [(split, bytes)] of those that are taken), some at a time, in order.

    given: the split of each of the spools. shuffled: in the order of the keys; or as the spools,
    and the documents in them, come. Splits are numbers of SPLITS, or LEFT_OUT.
    """
    numbers = np.array([SPLITS.index(split) for split in given])
    for meta, spool, start, number in in_order(spools, shuffled):
        splits = choice.splits(meta, numbers[spool])
        paths = [Path(folder, f"{number:03}.data") for folder in spools]
        yield meta, splits, taken(meta, splits, spool, start, paths)


def in_order(spools, shuffled):
    """(records, their spools, where in its data each begins, the number of their range)."""
    if shuffled:
        for number in range(records.BUCKETS):
            yield *records.ordered(spools, number), number
        return
    for spool, folder in enumerate(spools):
        begin = 0
        for meta in records.chunks(folder, 0):
            ends = begin + np.cumsum(meta["size"], dtype=np.int64)
            yield meta, np.full(len(meta), spool), ends - meta["size"], 0
            begin = int(ends[-1])


def taken(meta, splits, spool, start, paths):
    kept = np.flatnonzero(splits != LEFT_OUT)
    files: dict = {}
    try:
        for begin in range(0, len(kept), CHUNK):
            some = kept[begin : begin + CHUNK]
            columns = (splits[some], spool[some], start[some], meta["size"][some])
            for split, number, place, size in zip(*(x.tolist() for x in columns), strict=True):
                if number not in files:
                    if len(files) == OPEN:
                        files.pop(next(iter(files))).close()
                    files[number] = paths[number].open("rb")
                files[number].seek(place)
                yield split, files[number].read(size)
    finally:
        for file in files.values():
            file.close()


def write(folder, ranges, dtype, components, coded=lambda data: data):
    """Make FOLDER/{train,valid,test}.{bin,idx}; ranges: as of `ranges`.

    coded: bytes of a record -> bytes of its tokens. Returns {split: counts}, as in a manifest;
    splits of no document are not there.
    """
    writers: dict = {}
    counts = np.zeros((len(SPLITS), len(components), 1 + len(COUNTED)), dtype=np.int64)
    for meta, splits, documents in ranges:
        add(counts, meta, splits)
        for split, data in documents:
            if split not in writers:
                writers[split] = IndexedWriter(Path(folder, SPLITS[split]), dtype)
            writers[split].add(coded(data))
    for writer in writers.values():
        writer.close()
    return {SPLITS[split]: described(counts[split], components) for split in sorted(writers)}


def add(counts, meta, splits):
    """Add documents, tokens, words and bytes of records to `counts` (splits, components, 4)."""
    kept = splits != LEFT_OUT
    place = splits[kept], meta["component"][kept]
    np.add.at(counts[..., 0], place, 1)
    for number, name in enumerate(COUNTED, start=1):
        np.add.at(counts[..., number], place, meta[name][kept].astype(np.int64))


def described(counts, components):
    """Counts (components, 4) as a manifest has them: of all, and of each that has a name."""
    names = ("documents", *COUNTED)
    fields = dict(zip(names, counts.sum(0).tolist(), strict=True))
    each = {
        name or UNNAMED: dict(zip(names, row, strict=True))
        for name, row in zip(components, counts.tolist(), strict=True)
        if row[0]
    }
    return {**fields, **({"components": each} if set(each) - {UNNAMED} else {})}
