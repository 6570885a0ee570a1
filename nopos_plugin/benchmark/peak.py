"""What a call needs of memory at its peak, beyond what was there before."""

import gc
import logging
import re
from multiprocessing import get_context
from pathlib import Path

import torch


def extra_bytes(make, *arguments, threads):
    """(bytes, None): what `make(*arguments)()` takes at its peak on the CPU; or (None, why not).

    In a fresh process, which an earlier call's freed memory does not flatter, and after `make`.
    Everything given must be picklable.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["nopos_plugin.benchmark.candidates"])
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_measure, args=(sender, threads, make, arguments))
    child.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        child.join()
        return None, f"the process that measures memory ended with exit status {child.exitcode}"
    finally:
        receiver.close()
        child.join()


def _measure(sender, threads, make, arguments):
    logging.disable(logging.INFO)
    torch.set_num_threads(threads)
    try:
        call = make(*arguments)
        gc.collect()
        _forget_peak()
        before = _resident("VmRSS")
        call()
        sender.send((_resident("VmHWM") - before, None))
    except OSError as error:  # a system that does not tell
        sender.send((None, str(error)))


def _forget_peak():
    """Make VmHWM start anew at VmRSS."""
    Path("/proc/self/clear_refs").write_text("5")


def _resident(name):
    """Bytes of a line of /proc/self/status."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)[1]) * 1024


def extra_device_bytes(call):
    """What `call()` takes at its peak on the GPU."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
