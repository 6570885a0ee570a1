"""One evaluation in a process: how long its loop takes, and what it finds."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from nopos_plugin.benchmark import subject
from nopos_plugin.benchmark.training import LAST_LINES
from nopos_plugin.provenance import PACKAGE

STOCK = Path(__file__).with_name("stock_eval.py")
RESULTS = "results.jsonl"


@dataclass(frozen=True)
class Scoring:
    exit_status: int
    wall_seconds: float  # from start to end
    seconds: float | None = None  # of the loop alone; None, as the rest, if it failed
    bits_per_token: float | None = None
    tokens: int | None = None
    last_lines: tuple = ()


def stock_command(plan, pair, batch, data, checkpoint):
    """The arguments of fairseq-eval-lm for the `pair` (window, stride) of a plan of `evaluation`.

    It counts tokens without their context, so its own --max-tokens is set to what `batch` has.
    """
    window, stride = pair
    found = {
        "--path": checkpoint,
        "--gen-subset": subject.SPLIT,
        "--tokens-per-sample": window,
        "--context-window": window - stride,
        "--batch-size": batch,
        "--max-tokens": batch * stride,
        "--num-workers": 0,
    }
    cpu = ["--cpu"] if plan.device == "cpu" else []
    return [str(data), *(str(x) for flag in found.items() for x in flag), *cpu]


def our_command(plan, pair, data, checkpoint):
    """The arguments of nopos-evaluate for the same."""
    window, stride = pair
    found = {
        "--path": checkpoint,
        "--split": subject.SPLIT,
        "--lengths": window,
        "--stride": stride,
        "--first-window": "stride",
        "--device": plan.device,
        "--output": RESULTS,
    }
    if plan.taken_as != "stock":
        found["--model-overrides"] = {"model": {"_name": f"transformer_lm_{plan.taken_as}"}}
    return [str(data), *(str(x) for flag in found.items() for x in flag)]


def run_stock(arguments, folder, threads):
    """The Scoring of `fairseq-eval-lm ARGUMENTS`, run in `folder`."""
    done, seconds = _process([str(STOCK), *arguments], folder, threads, {})
    if done.returncode != 0:
        return _failed(done, seconds)
    return Scoring(0, seconds, **json.loads(done.stdout.splitlines()[-1]))


def run_ours(arguments, folder, threads):
    """The Scoring of `nopos-evaluate ARGUMENTS`, run in `folder`, where it leaves nothing."""
    path = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    more = {"PYTHONPATH": os.pathsep.join(path)}
    module = ["-m", "nopos_plugin.cli.evaluate", *arguments]
    done, seconds = _process(module, folder, threads, more)
    if done.returncode != 0:
        return _failed(done, seconds)
    results = folder / RESULTS
    row = json.loads(results.read_text("utf-8").splitlines()[-1])
    results.unlink()
    return Scoring(0, seconds, row["seconds"], row["bits_per_token"], row["tokens"])


def _process(arguments, folder, threads, more):
    """How Python ran, on one GPU at most, and its seconds."""
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    ours = {"OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": gpu, **more}
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, **ours},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    return done, time.monotonic() - start


def _failed(done, seconds):
    lines = (done.stdout + done.stderr).splitlines()
    return Scoring(done.returncode, seconds, last_lines=tuple(lines[-LAST_LINES:]))
