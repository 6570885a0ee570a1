"""What a number comes from: the software, the machine, the files."""

import hashlib
import os
import platform
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import fairseq
import torch

PACKAGE = Path(__file__).parent


def provenance(device):
    """What every result says of the software and the machine; device: cpu or cuda."""
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "torch": torch.__version__,
        "fairseq": fairseq.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": processor(),
        "cores": cores(),
        "gpu": torch.cuda.get_device_name(0) if device == "cuda" else None,
        "device": device,
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


def digest(*paths):
    """SHA-256 of the files at `paths`, one after the other."""
    made = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(2**20):
                made.update(block)
    return made.hexdigest()
