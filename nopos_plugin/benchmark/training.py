"""One `fairseq-train` process: how fast its updates are, and how large it becomes."""

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

WARM_UP = 2  # updates that are not counted
LAST_LINES = 15  # of the log of a training that failed


@dataclass(frozen=True)
class Training:
    exit_status: int
    seconds: float  # from start to end
    tokens_per_second: float | None  # the median update's; None if it failed
    peak_resident_bytes: int
    last_lines: tuple


def command(plan, encoding, data, user_dir, more):
    """The arguments of fairseq-train for the sizes of `plan`, and `more` of them, {flag: value}."""
    dim = str(plan.dim)
    flags = {
        "--user-dir": user_dir,
        "--arch": f"transformer_lm_{encoding}",
        "--decoder-layers": plan.layers,
        "--decoder-embed-dim": dim,
        "--decoder-input-dim": dim,
        "--decoder-output-dim": dim,
        "--decoder-ffn-embed-dim": 4 * plan.dim,
        "--decoder-attention-heads": plan.heads,
        **more,
        "--required-batch-size-multiple": 1,
        "--max-update": plan.updates,
        "--optimizer": "adam",
        "--lr": 1e-4,
        "--seed": plan.seed,
        "--num-workers": 0,
        "--log-format": "json",
        "--log-interval": 1,
    }
    switches = [
        "--decoder-normalize-before",
        "--share-decoder-input-output-embed",
        "--disable-validation",
        "--no-save",
    ]
    if plan.device == "cpu":
        switches.append("--cpu")
    return [str(data), *(str(x) for flag in flags.items() for x in flag), *switches]


def run(arguments, folder, threads):
    """The Training of `fairseq-train ARGUMENTS`, on one GPU at most; its log goes to `folder`.

    (Peak resident memory is no less than this process's own: Linux hands that on to a child.)
    """
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": gpu}
    log = folder / "log"
    start = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "fairseq_cli.train", *arguments, "--save-dir", str(folder)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
    process.returncode = os.waitstatus_to_exitcode(status)
    lines = log.read_text("utf-8", errors="replace").splitlines()
    speeds = tokens_per_second(lines)[WARM_UP:]
    failed = process.returncode != 0 or not speeds
    return Training(
        exit_status=process.returncode,
        seconds=time.monotonic() - start,
        tokens_per_second=None if failed else statistics.median(speeds),
        peak_resident_bytes=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        last_lines=tuple(lines[-LAST_LINES:]) if failed else (),
    )


def tokens_per_second(lines):
    """Of each update, from a log of fairseq's with --log-format json --log-interval 1."""
    updates = (line.partition(" | train_inner | ")[2] for line in lines)
    return [float(json.loads(update)["wps"]) for update in updates if update]
