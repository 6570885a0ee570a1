"""Training with several processes: on CPUs too, as one training, by the means that there are."""

import functools
import os

import torch
from fairseq.distributed import utils
from fairseq.models import distributed_fairseq_model


def count_processes_without_gpus():
    """Under torchrun and Slurm a process takes the GPU of its number, where there may be none.

    Without GPUs torchrun ended with ZeroDivisionError, Slurm in torch.cuda.set_device. fixed;
    0.12.2 takes no GPU there.
    """

    def infer_torchrun(cfg):
        if torch.cuda.is_available():
            return launched(cfg)
        cfg.distributed_init_method = "env://"
        cfg.distributed_world_size = int(os.environ["WORLD_SIZE"])
        cfg.distributed_rank = int(os.environ["RANK"])
        cfg.distributed_no_spawn = True
        cfg.device_id = 0

    def infer_slurm(cfg, *args):
        found = scheduled(cfg, *args)
        if not torch.cuda.is_available():
            cfg.device_id = 0
        return found

    launched, scheduled = utils._infer_torch_distributed_launch_init, utils._infer_slurm_init
    utils._infer_torch_distributed_launch_init = functools.wraps(launched)(infer_torchrun)
    utils._infer_slurm_init = functools.wraps(scheduled)(infer_slurm)


def join_processes_without_gpus():
    """--ddp-backend pytorch_ddp gives PyTorch the number of a GPU, which on a CPU is a ValueError.

    Both.
    """

    class DistributedDataParallel(torch.nn.parallel.DistributedDataParallel):
        def __init__(self, module, device_ids=None, output_device=None, **kwargs):
            if next(module.parameters()).device.type == "cpu":
                device_ids = output_device = None
            super().__init__(module, device_ids, output_device, **kwargs)

    distributed_fairseq_model.DistributedDataParallel = DistributedDataParallel


def refuse_lone_trainings():
    """Under torchrun fixed trains alone, N times into one folder, if it counts one GPU or none.

    0.12.2 joins them. Slurm's tasks are not checked: they may well be trainings of their own.
    """

    def check(cfg):
        started, joined = int(os.environ.get("WORLD_SIZE", 1)), utils.get_global_world_size()
        if started > joined:
            raise ValueError(
                f"WORLD_SIZE={started} in the environment says that {started} processes were "
                f"started to train together, but this training has {joined}: give "
                f"--distributed-world-size {started}, or unset WORLD_SIZE"
            )

    _check_before_training(check)


def refuse_full_sharding():
    """--ddp-backend fully_sharded wants fairscale, which would compute KERPLE's and T5's float32
    parameters in half precision. Both.
    """

    def check(cfg):
        if cfg.ddp_backend == "fully_sharded":
            raise ValueError(
                "--ddp-backend fully_sharded is fairscale's, which does not keep the parameters of "
                "position encodings in float32: give --ddp-backend legacy_ddp or pytorch_ddp; "
                "--memory-efficient-fp16, --checkpoint-activations and --update-freq save memory"
            )

    _check_before_training(check)


def _check_before_training(check):
    """Call `check` with the config of distributed training where fairseq_cli.train first asks for
    the rank: after the user directory was imported, from hydra as well, and before anything else.
    """
    is_master = utils.is_master

    @functools.wraps(is_master)
    def checked(cfg):
        check(cfg)
        return is_master(cfg)

    utils.is_master = checked
