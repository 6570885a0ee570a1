"""Trainings in processes of their own. Forked, they start at once; and they can be killed."""

import logging
import multiprocessing
import os
import socket
import sys
import time

import torch
from command import train
from fairseq.logging import progress_bar

PATIENCE = 60  # seconds


def start(log, *arguments):
    """A process that is `train(*arguments)` and writes all output to the file `log`."""
    process = multiprocessing.get_context("fork").Process(target=_train, args=(log, arguments))
    process.start()
    return process


def _train(log, arguments):
    file = open(log, "w", buffering=1)  # noqa: SIM115  (the process's own output)
    os.dup2(file.fileno(), 1)
    os.dup2(file.fileno(), 2)
    sys.stdout = sys.stderr = file
    logging.basicConfig(level=logging.INFO, stream=file, force=True)
    progress_bar._tensorboard_writers.clear()  # those of the process that it was forked from
    try:
        train(*arguments)
    finally:
        progress_bar._close_writers()  # which a process that is not forked does at its exit


def start_two(folder, *arguments):
    """Two processes that train together on a CPU; `folder` gets their output, 0.log and 1.log."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    together = (
        f"--distributed-world-size 2 --distributed-init-method tcp://127.0.0.1:{port} "
        "--distributed-no-spawn --distributed-backend gloo --ddp-backend legacy_ddp"
    ).split()
    folder.mkdir(exist_ok=True)
    return [
        start(folder / f"{rank}.log", *arguments, *together, "--distributed-rank", rank)
        for rank in range(2)
    ]


def wait(*processes):
    """Their exit statuses, -9 after SIGKILL. Raises TimeoutError for one that goes on."""
    for process in processes:
        process.join(PATIENCE)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f"process {process.pid} did not end in {PATIENCE} seconds")
    return [process.exitcode for process in processes]


def wait_for(path, process):
    """Return as soon as the file `path` is there. Raises TimeoutError if it never is."""
    _wait_until(path.exists, process)


def wait_for_update(number, log, process):
    """Return once `process`, which writes `log` and logs every update, has made so many."""
    _wait_until(lambda: log.exists() and f"num_updates={number}," in log.read_text(), process)


def _wait_until(is_so, process):
    alive = getattr(process, "is_alive", lambda: process.poll() is None)  # or of subprocess
    end = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > end or not alive():
            raise TimeoutError(f"waited in vain for process {process.pid}")
        time.sleep(0.001)


def state(path):
    """All that training made: parameters, the optimizer's state, its place in the data."""
    saved = torch.load(path)
    return {
        "model": saved["model"],
        "optimizer": saved["last_optimizer_state"],
        "updates": saved["optimizer_history"][-1]["num_updates"],
        "place": saved["extra_state"]["train_iterator"],
    }


def assert_equal(one, other):
    """Bit for bit, through dictionaries and lists."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        one, other = list(one.values()), [other[key] for key in one]
    if isinstance(one, (list, tuple)):
        for pair in zip(one, other, strict=True):
            assert_equal(*pair)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other
