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


def batch_alike_after_resuming():
    """Batches hold the same blocks in every epoch, in a training that was resumed, too.

    fixed draws them once, by the seed and the number of the epoch: 1, but in a resumed training the
    one it is in, so that it goes on with others. 0.12.2 draws them by the seed.
    """
    make = FairseqTask.get_batch_iterator

    @functools.wraps(make)
    def get_batch_iterator(self, dataset, *args, **kwargs):
        redrawn = kwargs.get("disable_iterator_cache") or kwargs.get("update_epoch_batch_itr")
        redrawn = redrawn or getattr(self.cfg, "rebuild_batches", False)
        if self.can_reuse_epoch_itr(dataset) and not redrawn:
            kwargs["epoch"] = 1  # the iterator learns from the checkpoint where it is
        return make(self, dataset, *args, **kwargs)

    FairseqTask.get_batch_iterator = get_batch_iterator


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
