"""What is read of a data-bin, and that all of it is."""

import functools
import os
import types

import numpy
from fairseq import utils
from fairseq.data import data_utils, token_block_dataset
from fairseq.tasks import FairseqTask
from fairseq.tasks.language_modeling import LanguageModelingTask

from nopos_plugin.data.load import is_empty, split_path


def restore_numpy_compat():
    """`--sample-break-mode eos`, fairseq-interactive and the hub interface use np.compat.long.

    Both, with numpy >= 2. numpy itself is left alone.
    """
    if hasattr(numpy, "compat"):
        return
    patched = types.ModuleType("numpy with compat")
    patched.__dict__.update(numpy.__dict__, compat=types.SimpleNamespace(long=numpy.int64))
    token_block_dataset.np = patched


def keep_last_batch():
    """fixed drops the last batch unless its size is a multiple of 8, and prints a perplexity of the
    rest: of validation, too, and fairseq-generate leaves those sentences out. 0.12.2 keeps it.
    """
    batch = data_utils.batch_by_size

    @functools.wraps(batch)
    def batch_by_size(indices, *args, **kwargs):
        indices = numpy.fromiter(indices, dtype=numpy.int64)
        batches = batch(indices, *args, **kwargs)
        num_kept = sum(map(len, batches))
        return batches if num_kept == len(indices) else [*batches, indices[num_kept:]]

    data_utils.batch_by_size = batch_by_size


def name_missing_dictionary():
    """A folder that is no data-bin gets a sentence; both name the missing file alone."""
    setup = LanguageModelingTask.setup_dictionary.__func__

    @functools.wraps(setup)
    def setup_dictionary(cls, args, **kwargs):
        for path in utils.split_paths(args.data)[:1]:
            if not os.path.exists(os.path.join(path, "dict.txt")):
                raise FileNotFoundError(
                    f"{path} has no dict.txt, so it is no data-bin: "
                    "give the --destdir of fairseq-preprocess --only-source"
                )
        return setup(cls, args, **kwargs)

    LanguageModelingTask.setup_dictionary = classmethod(setup_dictionary)


def explain_splits():
    """A split in windows, and an empty one, get a sentence instead of 'not found', or a traceback.

    Both.
    """
    load = LanguageModelingTask.load_dataset

    @functools.wraps(load)
    def load_dataset(self, split, *args, **kwargs):
        if "@" in split:
            raise ValueError(
                f"{split}: windows need a model trained with --task windowed_language_modeling; "
                "nopos-evaluate evaluates any in windows"
            )
        if is_empty(split_path(self.args.data, split)):
            raise ValueError(f"the split {split} of {self.args.data} is empty")
        return load(self, split, *args, **kwargs)

    LanguageModelingTask.load_dataset = load_dataset


def resume_with_the_same_batches():
    """A training that is resumed after its first epoch has the batches that it would have had.

    Batches are made once, by the seed and the epoch in which that happens, and kept: an epoch that
    was resumed got others. fixed; 0.12.2 makes them by the seed alone.
    """
    make = FairseqTask.get_batch_iterator

    @functools.wraps(make)
    def get_batch_iterator(self, dataset, *args, epoch=1, **kwargs):
        if not self.can_reuse_epoch_itr(dataset):
            return make(self, dataset, *args, epoch=epoch, **kwargs)
        kept = dataset in self.dataset_to_epoch_iter
        batches = make(self, dataset, *args, epoch=1, **kwargs)
        if not kept:
            batches.epoch = max(epoch, 1)
            dataset.set_epoch(batches.epoch)
        return batches

    FairseqTask.get_batch_iterator = get_batch_iterator
