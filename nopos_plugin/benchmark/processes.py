"""A process and its children: how long they take, and what memory they have at their peak."""

import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from nopos_plugin.benchmark.training import LAST_LINES
from nopos_plugin.provenance import PACKAGE

PROC = Path("/proc")
EVERY = 0.1  # seconds from one look at the memory to the next


@dataclass(frozen=True)
class Run:
    exit_status: int
    seconds: float  # from start to end
    peak_bytes: int | None = None  # of the process and all below it; None where it is not known
    last_lines: tuple = ()


def run(arguments, folder):
    """The Run of `python ARGUMENTS` in `folder`, which finds this package."""
    path = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    seen, ended = [0], threading.Event()
    watcher = threading.Thread(target=watch, args=(process.pid, seen, ended))
    watcher.start()
    try:
        output, _ = process.communicate()
        seconds = time.monotonic() - start
    except BaseException:
        process.kill()
        raise
    finally:
        ended.set()
        watcher.join()
    lines = output.replace("\r", "\n").splitlines()
    return Run(process.returncode, seconds, max(seen) or None, tuple(lines[-LAST_LINES:]))


def watch(pid, seen, ended):
    """Add the memory of `pid` and all below it to `seen`, until `ended`."""
    while not ended.wait(EVERY):
        seen.append(sum(map(memory_bytes, family(pid))))


def family(pid):
    """`pid`, its children, and theirs, as far as they live."""
    found = [pid]
    for parent in found:
        try:
            for task in (PROC / str(parent) / "task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except OSError:  # it ended
            continue
    return found


def memory_bytes(pid):
    """Resident memory of a process, of a page that n share one n-th; 0 if it ended."""
    try:
        found = (PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(kb) for kb in re.findall(r"^Pss:\s+(\d+) kB$", found, re.MULTILINE)) * 1024
