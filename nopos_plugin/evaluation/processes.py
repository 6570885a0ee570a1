"""The processes of one evaluation: one, or those that torchrun started."""

import os
from contextlib import contextmanager
from datetime import timedelta

import torch

PATIENCE = timedelta(days=7)  # with a process that has more to do, or a slower device


class OtherProcessFailed(Exception):
    """Another one of them ended, and has said why."""


class Processes:
    """Joins the processes that torchrun says there are; without it, there is one."""

    def __init__(self, device):
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if device == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        if self.count > 1:
            with together():
                torch.distributed.init_process_group("gloo", timeout=PATIENCE)

    @property
    def first(self):
        """Is this the one that prints and writes?"""
        return self.rank == 0

    def share(self, batches):
        """Those of this process."""
        return batches[self.rank :: self.count]

    def agree(self, found):
        """What the first one found."""
        said = [found]
        if self.count > 1:
            with together():
                torch.distributed.broadcast_object_list(said)
        return said[0]

    def add_up(self, losses):
        """Give every process what all have found."""
        if self.count > 1:
            with together():
                losses.add_up()  # on the CPU

    def close(self):
        if self.count > 1:
            torch.distributed.destroy_process_group()


@contextmanager
def together():
    """What all processes do at once: their failures as one."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise OtherProcessFailed(
            f"another process has failed, or is not there ({reason})"
        ) from error
