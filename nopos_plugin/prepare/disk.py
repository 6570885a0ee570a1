"""What is not finished: a folder beside the destination, and errors that say where."""

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 10  # tenths of a second, in which the workers of a killed process end


@contextmanager
def locked(folder, destination):
    """The folder `folder`, made if it is not there, for this process alone.

    Raises ValueError while another one makes the same `destination` in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        for left in range(PATIENCE, -1, -1):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    said = f"{destination}: another process makes it; wait for that"
                    raise ValueError(said) from None
                time.sleep(0.1)
        yield folder
    finally:
        os.close(lock)


@contextmanager
def workspace(destination):
    """An empty folder beside `destination`, gone at the end, as is what a killed run left there.

    Made to be filled, then renamed to `destination`, which is thus never half made. Raises
    ValueError while another process is at work on the same destination.
    """
    around = Path(destination).with_name(f".{Path(destination).name}.part")
    with locked(around, destination):
        try:
            empty(around)
            # a name of its own: what a killed run started may still write under the old one
            yield Path(tempfile.mkdtemp(dir=around))
        finally:
            shutil.rmtree(around, ignore_errors=True)


def empty(folder):
    """Remove all that is in `folder`."""
    for left in folder.iterdir():
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


@contextmanager
def writing(path):
    """Raises an OSError that says that `path` cannot be written, and why, for any inside."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise OSError(
            f"{path} cannot be written: {reason}; make room, or write elsewhere"
        ) from error
