"""Sources to spools: read here, tokenized by workers, each source finished or not there."""

import json
import multiprocessing
import os
import shutil
from collections import Counter, deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from nopos_plugin.prepare import batch, lines
from nopos_plugin.prepare.records import Spool

DONE = "done.json"
AHEAD = 2  # blocks a worker that wait
SOON = 10_000  # lines after which a file that mostly holds something else is given up


class Source(NamedTuple):
    """split: train for documents that are yet to be parted, or the split that all are of.

    name: what the order of its documents is drawn by, besides the seed: its own, without what says
    how it is compressed. origin: where it came from, a path or a URL.
    """

    path: Path
    split: str
    name: str
    origin: str

    def state(self):
        """What says that the file has not changed since."""
        status = self.path.stat()
        return {
            **{"name": self.path.name, "from": self.origin, "split": self.split},
            **{"path": str(self.path.absolute()), "drawn by": self.name},
            **{"bytes": status.st_size, "mtime_ns": status.st_mtime_ns},
        }


class Spooler:
    """Makes spools by a batch.Recipe, with `count` worker processes; a context manager.

    max_invalid: the share of lines that may be no document. shown(batch, bytes) is called with each
    Batch and how much of its file was read for it.
    """

    def __init__(self, recipe, count, max_invalid, shown):
        self.recipe, self.count = recipe, count
        self.max_invalid, self.shown = max_invalid, shown

    def __enter__(self):
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
        self.pool = ProcessPoolExecutor(
            self.count, context, initializer=batch.begin, initargs=(self.recipe,)
        )
        return self

    def __exit__(self, *error):
        self.pool.shutdown(wait=True, cancel_futures=True)

    def spooled(self, source, folder):
        """Make `folder` the spool of `source`, if it is not; what is known of it.

        Raises ValueError for a source that cannot be used, or if a worker was killed.
        """
        done = finished(source, folder)
        if done is not None:
            self.check(source, Counter(done["counts"]))
            return done
        part = folder.with_name(folder.name + ".part")
        for old in (folder, part):
            shutil.rmtree(old, ignore_errors=True)
        spool, hashed = Spool(part), sha256()
        counts: Counter = Counter()
        for made, size in self.batches(source, hashed):
            spool.add(made.parts)
            counts += made.counts
            counts["documents"] += made.documents
            self.shown(made, size)
            if counts["lines"] > SOON and 2 * counts["invalid"] > counts["lines"]:
                self.check(source, counts)
        spool.flush()
        self.check(source, counts)
        done = {**source.state(), "sha256": hashed.hexdigest(), "counts": dict(counts)}
        (part / DONE).write_text(json.dumps(done))
        part.rename(folder)
        return done

    def batches(self, source, hashed):
        """(Batch, bytes read) of the blocks of `source`, in order."""
        waiting: deque = deque()
        read = line = 0

        def seen(data):
            nonlocal read
            read += len(data)
            hashed.update(data)

        form = self.recipe.format
        for block in lines.blocks(source.path, form.ends, form.too_long, seen):
            ahead = AHEAD * self.count if len(block) <= 2 * lines.BLOCK else 0
            while len(waiting) > ahead:
                yield result(source, waiting)
            waiting.append((self.pool.submit(batch.work, block, source.name, line), read))
            line += block.count(b"\n")
            read = 0
        while waiting:
            yield result(source, waiting)

    def check(self, source, counts):
        """Raises ValueError for too many lines that are no document, or no lines at all."""
        if counts["invalid"] > self.max_invalid * counts["lines"]:
            raise ValueError(
                f"{source.path}: {counts['invalid']:,} of {counts['lines']:,} lines hold no "
                f"document (JSON with a text in UTF-8), and --max-invalid is {self.max_invalid:g}"
            )
        if not counts["lines"]:
            raise ValueError(f"{source.path} is empty")


def finished(source, folder):
    """What is known of `source` if its spool is whole and of the file as it is, else None."""
    path = folder / DONE
    if not path.exists():
        return None
    done = json.loads(path.read_text())
    return done if source.state().items() <= done.items() else None


def result(source, waiting):
    future, read = waiting.popleft()
    try:
        return future.result(), read
    except BrokenProcessPool as error:
        raise ValueError(
            "a worker process was killed, by a lack of memory perhaps: run the same command again, "
            "with fewer --workers; what is finished is kept"
        ) from error
    except ValueError as error:
        raise ValueError(f"{source.path}: {error}") from error
