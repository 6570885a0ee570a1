"""The processes of one evaluation: one, or those that torchrun started."""

import os

import torch


class Processes:
    """Joins the processes that torchrun says there are; without it, there is one."""

    def __init__(self, device):
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        if device == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        if self.count > 1:
            torch.distributed.init_process_group("gloo")  # losses are added up on the CPU

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
            torch.distributed.broadcast_object_list(said)
        return said[0]

    def add_up(self, losses):
        """Give every process what all have found."""
        if self.count > 1:
            losses.add_up()

    def close(self):
        if self.count > 1:
            torch.distributed.destroy_process_group()
