"""A folder that is whole or not there."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path


def new(out):
    """The Path of --out. Raises ValueError if it is there."""
    if Path(out).exists():
        raise ValueError(f"--out {out} is there already: name another, or move it away")
    return Path(out)


@contextmanager
def whole(out):
    """A folder beside `out` to fill, which takes its name at the end, or goes if that fails."""
    folder = out.with_name(f".{out.name}.{os.getpid()}")
    made = [parent for parent in folder.parents if not parent.exists()]
    folder.mkdir(parents=True)
    try:
        yield folder
        os.rename(folder, out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in made:
            parent.rmdir()
        raise
