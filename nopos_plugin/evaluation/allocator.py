"""Memory that is freed stays with the process, so that the next batch need not fetch it again."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed_memory():
    """Have malloc return no memory to the system. True if it does so, as glibc can.

    By default each large tensor is a mapping of its own, which the system fills with zeros page by
    page: up to a fifth of the time of an evaluation on a CPU.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
