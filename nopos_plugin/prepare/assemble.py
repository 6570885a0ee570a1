"""Spools to the splits of a data-bin."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from nopos_plugin.prepare import records
from nopos_plugin.prepare.choose import LEFT_OUT, SPLITS, Choice, Lengths, shares
from nopos_plugin.prepare.indexed import IndexedWriter

COUNTED = ("tokens", "words", "bytes")
CHUNK = 2**16  # documents whose numbers are Python's at a time


def choice(spools, given, wanted):
    """The Choice by what is in all of `spools`; given: the split of each."""
    lengths = Lengths()
    for meta, _ in all_records(spools):
        lengths.add(meta)
    made = Choice(wanted, lengths.limits(wanted.trim), None)
    tokens: Counter = Counter()
    documents = 0
    for meta, _ in all_records(spools):
        kept = meta[made.kept(meta)]
        for component in np.unique(kept["component"]).tolist():
            of_it = kept["tokens"][kept["component"] == component]
            tokens[component] += int(of_it.sum(dtype=np.int64))
    made = Choice(wanted, made.limits, shares(tokens, wanted))
    for meta, spool in all_records(spools):
        if given[spool] == SPLITS[0]:
            documents += int(made.kept(meta).sum())
    held_out = {
        name: int(share * documents) if share < 1 else share
        for name in ("valid_documents", "test_documents")
        for share in [getattr(wanted, name)]
    }
    return Choice(wanted._replace(**held_out), made.limits, made.shares)


def all_records(spools):
    """(records, number of their spool), range after range."""
    for number in range(records.BUCKETS):
        for spool, meta in enumerate(records.metas(spools, number)):
            yield meta, spool


def ranges(spools, given, choice):
    """(records, their splits, [(split, bytes)] of those that are taken), range after range, in
    order.

    given: the split of each of the spools. Splits are numbers of SPLITS, or LEFT_OUT.
    """
    numbers = np.array([SPLITS.index(split) for split in given])
    for number in range(records.BUCKETS):
        meta, spool, start = records.ordered(spools, number)
        splits = choice.splits(meta, numbers[spool])
        paths = [Path(folder, f"{number:03}.data") for folder in spools]
        yield meta, splits, taken(meta, splits, spool, start, paths)


def taken(meta, splits, spool, start, paths):
    kept = np.flatnonzero(splits != LEFT_OUT)
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("rb")) if path.exists() else None for path in paths]
        for begin in range(0, len(kept), CHUNK):
            some = kept[begin : begin + CHUNK]
            columns = (splits[some], spool[some], start[some], meta["size"][some])
            for split, number, place, size in zip(*(x.tolist() for x in columns), strict=True):
                files[number].seek(place)
                yield split, files[number].read(size)


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
        name: dict(zip(names, row, strict=True))
        for name, row in zip(components, counts.tolist(), strict=True)
        if name and row[0]
    }
    return {**fields, **({"components": each} if each else {})}
