"""What --tensorboard-logdir shows besides losses."""

import functools

from fairseq.distributed import utils as distributed_utils
from fairseq.logging.progress_bar import TensorboardProgressBarWrapper
from fairseq.trainer import Trainer


def show_what_is_learned():
    """The encoding's `learned()` numbers at every validation, in the folder `position_encoding`.

    Both write what criterions log, all of which they print as well.
    """
    begin = Trainer.begin_valid_epoch

    @functools.wraps(begin)
    def begin_valid_epoch(self, epoch):
        begin(self, epoch)
        folder = self.cfg.common.tensorboard_logdir
        encoding = getattr(getattr(self.get_model(), "decoder", None), "encoding", None)
        if folder and encoding and distributed_utils.is_master(self.cfg.distributed_training):
            series = {
                f"{name}/head{head}": value
                for name, values in encoding.learned().items()
                for head, value in enumerate(values.tolist())
            }
            bar = TensorboardProgressBarWrapper(None, folder)
            bar._log_to_tensorboard(series, "position_encoding", self.get_num_updates())

    Trainer.begin_valid_epoch = begin_valid_epoch
