"""SIGTERM, with which clusters announce the end of a job."""

import functools
import gc
import logging
import multiprocessing
import os
import signal
import sys
import threading
import weakref

import torch
from fairseq import checkpoint_utils
from fairseq.data.iterators import BackgroundConsumer
from fairseq.distributed import utils as distributed_utils
from fairseq.trainer import Trainer

STATUS = 128 + signal.SIGTERM

logger = logging.getLogger(__name__)


def save_when_terminated():
    """SIGTERM in training: a checkpoint after the update, then exit status 143. Both just die.

    Several processes learn of it with the statistics of an update, and stop after the same one.
    """
    step, aggregate = Trainer.train_step, Trainer._aggregate_logging_outputs
    iterate, save = Trainer.get_train_iterator, checkpoint_utils.save_checkpoint
    load = checkpoint_utils.load_checkpoint
    here, everywhere = threading.Event(), threading.Event()
    iterators = weakref.WeakKeyDictionary()  # of trainers that live

    def on_signal(number, frame):
        gc.collect()
        if not iterators:  # nothing is trained in this process any more
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        here.set()

    def is_over(trainer):
        """Whether to stop now; not after the last update, from where the end is near."""
        told = here if trainer.data_parallel_world_size == 1 else everywhere
        most = trainer.cfg.optimization.max_update
        return told.is_set() and not 0 < most <= trainer.get_num_updates()

    def leave(trainer):
        logger.info(f"SIGTERM: stopped after update {trainer.get_num_updates()}")
        if torch.distributed.is_initialized():  # the first process may still write
            torch.distributed.barrier(distributed_utils.get_global_group())
        sys.exit(STATUS)

    @functools.wraps(load)
    def load_checkpoint(*args, **kwargs):
        here.clear()
        everywhere.clear()
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, on_signal)
        return load(*args, **kwargs)

    @functools.wraps(iterate)
    def get_train_iterator(self, *args, **kwargs):
        iterators[self] = iterate(self, *args, **kwargs)
        return iterators[self]

    @functools.wraps(aggregate)
    def aggregate_logging_outputs(self, logging_outputs, *extra_stats_to_sum, ignore=False):
        extra = (*extra_stats_to_sum, int(here.is_set()))
        outputs, (*extra, told) = aggregate(self, logging_outputs, *extra, ignore=ignore)
        if told:
            everywhere.set()
        return outputs, extra

    @functools.wraps(step)
    def train_step(self, *args, **kwargs):
        output = step(self, *args, **kwargs)
        if is_over(self):
            checkpoint_utils.save_checkpoint(self.cfg.checkpoint, self, iterators[self], None)
        return output

    @functools.wraps(save)
    def save_checkpoint(cfg, trainer, *args, **kwargs):
        path = save(cfg, trainer, *args, **kwargs)
        if is_over(trainer):
            leave(trainer)
        return path

    checkpoint_utils.load_checkpoint = load_checkpoint
    checkpoint_utils.save_checkpoint = save_checkpoint
    Trainer.get_train_iterator = get_train_iterator
    Trainer._aggregate_logging_outputs = aggregate_logging_outputs
    Trainer.train_step = train_step


def spare_data_loaders():
    """A SIGTERM to all processes, as of clusters and `timeout`, leaves the workers that load data.

    Where one dies, torch raises an error in the middle of the update. Both. Their own process ends
    them by SIGINT, unless it was started with that ignored: then they are not spared.
    """
    consume = BackgroundConsumer.run

    def loaded(source):
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            others = set(multiprocessing.active_children())
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # workers inherit it
            source = iter(source)
            for worker in set(multiprocessing.active_children()) - others:
                handle = worker._popen
                handle.terminate = functools.partial(handle._send_signal, signal.SIGINT)
        yield from source

    @functools.wraps(consume)
    def run(self):
        self._source = loaded(self._source)
        consume(self)

    BackgroundConsumer.run = run
