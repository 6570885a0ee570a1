"""Results: lines of JSON, each of which says where, when and with what it was measured."""

import json
import os
import platform
import re
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import fairseq
import torch

from nopos_plugin.benchmark import memory

PACKAGE = Path(__file__).parents[1]


def provenance(device, threads):
    """What every line says of the machine and the software."""
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "torch": torch.__version__,
        "fairseq": fairseq.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": processor(),
        "cores": cores(),
        "memory_bytes": memory.machine_bytes("cpu"),
        "gpu": torch.cuda.get_device_name(0) if device == "cuda" else None,
        "device": device,
        "threads": threads,
    }


def processor():
    """The model of the CPU."""
    path = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.*)", path.read_text()) if path.exists() else None
    return named[1] if named else platform.processor() or platform.machine()


def cores():
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def commit():
    """The git commit of this package, with -dirty behind if files differ; None if not known."""
    describe = ("describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")
    tracked = _git("ls-files", "--error-unmatch", "__init__.py")
    return (_git(*describe) or None) if tracked else None


def _git(*arguments):
    try:
        done = subprocess.run(
            ["git", "-C", PACKAGE, *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def write(row, file):
    """Add `row`, one line of JSON, to `file`, and see that it is there."""
    file.write(json.dumps(row) + "\n")
    file.flush()


def progress(text):
    print(f"nopos-benchmark: {text}", file=sys.stderr, flush=True)
