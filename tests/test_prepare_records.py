"""The shuffle on disk: in the order of the keys, whatever the batches."""

import numpy as np

from nopos_plugin.prepare import records


def batch(keys, first):
    meta = np.zeros(len(keys), dtype=records.META)
    meta["key"] = keys
    data = [f"{first + i}".encode() for i in range(len(keys))]
    meta["size"] = [len(each) for each in data]
    return meta, data


def all_of(spools):
    found = []
    for number in range(records.BUCKETS):
        meta, spool, start = records.ordered(spools, number)
        for record, which, place in zip(meta, spool, start, strict=True):
            with open(spools[which] / f"{number:03}.data", "rb") as file:
                file.seek(place)
                found.append((int(record["key"]), file.read(record["size"]).decode()))
    return found


def test_documents_come_in_the_order_of_their_keys(tmp_path, monkeypatch):
    draw = np.random.default_rng(0)
    keys = draw.integers(0, 2**64, 1000, dtype=np.uint64)
    keys[[3, 700]] = keys[5]  # equal ones come as they were written
    expected = sorted(((int(k), f"{i}") for i, k in enumerate(keys)), key=lambda pair: pair[0])
    for size, flush in ((1000, 2**26), (7, 100)):
        monkeypatch.setattr(records, "FLUSH", flush)
        spools = [tmp_path / f"{size}-{half}" for half in (0, 1)]
        for half, spool in enumerate(map(records.Spool, spools)):
            for start in range(500 * half, 500 * (half + 1), size):
                stop = min(start + size, 500 * (half + 1))
                spool.add(records.by_bucket(*batch(keys[start:stop], start)))
            spool.flush()
        assert all_of(spools) == expected


def test_keys_depend_on_seed_source_and_line():
    assert records.key(1, "a", 5) == records.key(1, "a", 5)
    assert (
        len(
            {
                records.key(s, name, n)
                for s in (1, 2, 11)
                for name in ("1", "11")
                for n in (0, 1, 11)
            }
        )
        == 18
    )
    found = np.array([records.key(1, "a", n) for n in range(64_000)], dtype=np.uint64)
    counts = np.bincount(records.bucket(found), minlength=records.BUCKETS)
    assert len(counts) == records.BUCKETS and 180 < counts.min() <= counts.max() < 320
