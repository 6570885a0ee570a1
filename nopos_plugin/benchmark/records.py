"""Results: lines of JSON, each of which says where, when and with what it was measured."""

import json
import sys

from nopos_plugin import provenance
from nopos_plugin.benchmark import memory


def origin(device, threads):
    """What every line says of the machine and the software."""
    machine = {"memory_bytes": memory.machine_bytes("cpu"), "threads": threads}
    return {**provenance.provenance(device), **machine}


def write(row, file):
    """Add `row`, one line of JSON, to `file`, and see that it is there."""
    file.write(json.dumps(row) + "\n")
    file.flush()


def progress(text):
    print(f"nopos-benchmark: {text}", file=sys.stderr, flush=True)
