"""Limits of this process, for tests of a full disk."""

import resource
from contextlib import contextmanager


@contextmanager
def files_end_at(limit):
    """No file of this process and its children may have more bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
