"""A training whose numbers end."""

import functools
import re

from fairseq.trainer import Trainer


def explain_nan():
    """Gradients that are infinite or no number end training with what can be done.

    Both say "gradients are Nan/Inf", and of several processes that they should try legacy_ddp.
    """
    step = Trainer.train_step

    @functools.wraps(step)
    def train_step(self, *args, **kwargs):
        try:
            return step(self, *args, **kwargs)
        except FloatingPointError as error:
            if not re.search(r"Nan/Inf|= (nan|-?inf)", str(error)):
                raise
            raise FloatingPointError(
                f"the gradients of update {self.get_num_updates() + 1} are infinite or no number, "
                f"at a learning rate of {self.get_lr():g}: lower --lr, lengthen the warm-up or set "
                "--clip-norm, and go on from a checkpoint of before; the log names the module "
                "where it began, crash.pt has its state"
            ) from error

    Trainer.train_step = train_step
