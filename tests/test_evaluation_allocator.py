"""Memory is not fetched from the system again and again."""

import subprocess
import sys

import pytest

from nopos_plugin.evaluation import allocator

PAGES = """
import resource, runpy
kept = runpy.run_path({path!r})["keep_freed_memory"]() if {keep} else True
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
for _ in range(8):
    bytearray(2**26)
print(kept, faults() - before)
"""


def pages(keep):
    """Was it kept, and the pages that 8 times 64 MiB fetch."""
    script = PAGES.format(path=allocator.__file__, keep=keep)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    kept, count = done.stdout.split()
    return kept == "True", int(count)


def test_freed_memory_is_used_again():
    kept, count = pages(keep=True)
    if not kept:
        pytest.skip("this C library has no mallopt")
    assert 2 * count < pages(keep=False)[1]
