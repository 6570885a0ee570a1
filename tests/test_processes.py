"""Several processes: the same parameters as one, every launch that is documented, and refusals."""

import json
import os
import stat
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from command import PLUGIN, ROOT, SIZE, TRAINING, run, together, train
from fairseq.distributed import utils

from nopos_plugin import positions

# An epoch has 13 batches: its last update is one batch, and a dummy one in the second process.
FLAGS = ("--dropout", "0", "--clip-norm", "0.3", "--max-update", "8", "--no-save-optimizer-state")
CHECKPOINTED = ("--checkpoint-activations",)
ADAPTIVE = ("--criterion", "adaptive_loss", "--adaptive-softmax-cutoff", "6")
LEARNED = ("kerple_log", "kerple_power", "t5")  # their parameters serve every layer
CASES = [
    *(
        (backend, name, ())
        for backend in ("legacy_ddp", "pytorch_ddp")
        for name in positions.names()
    ),
    *(
        (backend, name, CHECKPOINTED)
        for backend in ("legacy_ddp", "pytorch_ddp")
        for name in LEARNED
    ),
    ("legacy_ddp", "kerple_log", ADAPTIVE),
]
QUICK = [
    *(("legacy_ddp", name, ()) for name in ("bipe_rope", "kerple_power", "learned")),
    *(("pytorch_ddp", name, ()) for name in ("alibi", "rope")),
    ("legacy_ddp", "t5", CHECKPOINTED),
    ("pytorch_ddp", "kerple_log", CHECKPOINTED),
    ("legacy_ddp", "kerple_log", ADAPTIVE),
]


def label(backend, name, flags):
    return "_".join((backend, name, *flags)).replace("--", "")


@pytest.fixture(scope="module")
def pairs(request, data_bin, tmp_path_factory):
    """Folder of what two processes have trained, of each case that was asked for."""
    folder = tmp_path_factory.mktemp("pairs")
    asked = [i.callspec.params["case"] for i in request.session.items if "pairs" in i.fixturenames]
    trainings = [
        (
            *(f"transformer_lm_{name}", str(folder / label(backend, name, flags))),
            *(*FLAGS, *flags, "--ddp-backend", backend),
        )
        for backend, name, flags in asked
    ]
    done = together(
        *(("-m", "rank", n, folder / "store", json.dumps(trainings), data_bin) for n in (0, 1)),
        PYTHONPATH=str(ROOT / "tests"),
    )
    assert [code for code, _ in done] == [0, 0], "\n".join(output[-4000:] for _, output in done)
    return folder


def assert_same_training(folder, other):
    """Parameters and the validation loss of the last checkpoints."""
    one, two = (torch.load(path / "checkpoint_last.pt") for path in (folder, other))
    assert two["model"].keys() == one["model"].keys()
    for key, parameter in one["model"].items():
        torch.testing.assert_close(two["model"][key], parameter, rtol=1e-5, atol=0, msg=key)
    assert two["extra_state"]["val_loss"] == one["extra_state"]["val_loss"]


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=() if c in QUICK else pytest.mark.slow, id=label(*c)) for c in CASES],
)
def test_two_processes_are_one_with_twice_the_update_freq(case, pairs, data_bin, tmp_path):
    backend, name, flags = case
    twice = ("--update-freq", "2", "--ddp-backend", backend)
    train(data_bin, f"transformer_lm_{name}", tmp_path, *FLAGS, *flags, *twice)
    assert_same_training(tmp_path, pairs / label(*case))


@pytest.fixture(scope="module")
def alone(data_bin, tmp_path_factory):
    """Folder of one process with twice the --update-freq, for the launches."""
    folder = tmp_path_factory.mktemp("alone")
    train(data_bin, "transformer_lm_kerple_log", folder, *FLAGS, "--update-freq", "2")
    return folder


def launched(data, folder):
    """What a user types after fairseq-train to train `alone` with two processes on CPUs."""
    return (
        *(data, "--user-dir", PLUGIN, "--arch", "transformer_lm_kerple_log", *SIZE, *TRAINING),
        *(*FLAGS, "--save-dir", folder, "--distributed-backend", "gloo"),
    )


def test_torchrun_on_cpus(alone, data_bin, tmp_path):
    code, output = run(
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2),
        *("-m", "fairseq_cli.train", *launched(data_bin, tmp_path)),
        *("--distributed-world-size", 2),
    )
    assert code == 0, output
    assert_same_training(alone, tmp_path)


def test_torchrun_without_a_world_size_is_refused(data_bin, tmp_path, monkeypatch):
    """It made independent trainings, all into one folder; of 0.12.2 without MASTER_ADDR, too."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="WORLD_SIZE=2 .* has 1: give --distributed-world-size 2"):
        train(data_bin, "transformer_lm_nopos", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_lone_training_may_have_a_world_of_one(data_bin, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    train(data_bin, "transformer_lm_nopos", tmp_path, "--max-update", "1")
    assert (tmp_path / "checkpoint_last.pt").exists()


def test_full_sharding_is_refused(data_bin, tmp_path):
    with pytest.raises(ValueError, match="fully_sharded .* give --ddp-backend legacy_ddp"):
        train(data_bin, "transformer_lm_t5", tmp_path / "model", "--ddp-backend", "fully_sharded")
    assert not (tmp_path / "model").exists()


def inferred(**changes):
    """The distributed config of fairseq-train --distributed-world-size 4, once completed."""
    cfg = SimpleNamespace(
        **{"distributed_world_size": 4, "distributed_rank": 0, "distributed_port": 29500},
        **{"distributed_init_method": None, "distributed_no_spawn": False, "device_id": 1},
        **{"pipeline_model_parallel": False, "tpu": False, **changes},
    )
    utils.infer_init_method(cfg)
    return cfg


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU")
def test_processes_without_gpus_know_their_number(tmp_path, monkeypatch):
    program(tmp_path / "scontrol", 'echo "first\nsecond"')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    task = {"STEP_NODELIST": "first,second", "NNODES": 2, "NTASKS_PER_NODE": 2, "PROCID": 3}
    for name, value in {**task, "LOCALID": 1}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    cfg = inferred()
    assert (cfg.distributed_rank, cfg.device_id, cfg.distributed_no_spawn) == (3, 0, True)
    assert cfg.distributed_init_method == "tcp://first:29500"

    torchrun = {"MASTER_ADDR": "first", "MASTER_PORT": 1, "WORLD_SIZE": 4, "RANK": 2}
    for name, value in {**torchrun, "LOCAL_RANK": 1}.items():
        monkeypatch.setenv(name, str(value))
    cfg = inferred()
    assert (cfg.distributed_rank, cfg.device_id, cfg.distributed_no_spawn) == (2, 0, True)
    assert (cfg.distributed_world_size, cfg.distributed_init_method) == (4, "env://")


def program(path, text):
    """Make `path` a shell script."""
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


# What srun does with the script's command: as many processes as tasks, with their numbers.
SRUN = """
while [[ $1 == --* ]]; do shift; done
for task in $(seq 0 $((SLURM_NTASKS_PER_NODE - 1))); do
    SLURM_PROCID=$task SLURM_LOCALID=$task SLURM_NODEID=0 SLURM_STEP_NODELIST=localhost "$@" &
done
for task in $(seq $SLURM_NTASKS_PER_NODE); do wait -n || exit; done
"""


@pytest.mark.slow
def test_the_slurm_script(alone, data_bin, tmp_path):
    """In the environment of a job of one node with two tasks, and with its own srun."""
    program(tmp_path / "srun", SRUN)
    program(tmp_path / "scontrol", "echo localhost")
    program(tmp_path / "fairseq-train", f'exec "{sys.executable}" -m fairseq_cli.train "$@"')
    job = {"JOB_ID": os.getpid(), "NNODES": 1, "NTASKS_PER_NODE": 2, "JOB_NODELIST": "localhost"}
    done = subprocess.run(
        ["bash", ROOT / "examples/slurm/train.sbatch", *launched(data_bin, tmp_path / "model")],
        env={
            **{**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            **{f"SLURM_{name}": str(value) for name, value in job.items()},
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    assert "initialized host" in done.stdout
    assert_same_training(alone, tmp_path / "model")


# A machine of two GPUs, as far as fairseq asks before it starts two processes itself.
SPAWN = """
import torch
torch.cuda.device_count = lambda: 2
from fairseq_cli.train import cli_main
if __name__ == "__main__":
    cli_main()
"""


@pytest.mark.slow
def test_processes_that_fairseq_starts_itself(alone, data_bin, tmp_path):
    (tmp_path / "train.py").write_text(SPAWN)
    code, output = run(
        *(tmp_path / "train.py", *launched(data_bin, tmp_path / "model")),
        *("--distributed-world-size", 2),
    )
    assert code == 0, output
    assert_same_training(alone, tmp_path / "model")
