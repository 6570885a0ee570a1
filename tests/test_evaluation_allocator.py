"""Memory is not fetched again and again from the system."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, torch
from nopos_plugin.evaluation.allocator import keep_freed_memory
kept = keep_freed_memory() if {keep} else True
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(2):
    torch.ones(2**24)
before = faults()
for _ in range(4):
    torch.ones(2**24)  # 64 MiB
print(kept, faults() - before)
"""


def faults(keep):
    done = subprocess.run(
        [sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, text=True, check=True
    )
    kept, count = done.stdout.split()
    return kept == "True", int(count)


def test_memory_is_fetched_once():
    kept, count = faults(keep=True)
    if not kept:
        pytest.skip("this C library has no mallopt")
    assert count < 100 < faults(keep=False)[1]
