"""A split of a data-bin."""

import os

from fairseq import utils
from fairseq.data import data_utils, indexed_dataset

from nopos_plugin.data.text import Text
from nopos_plugin.data.windowed import WindowedDataset


def split_path(data, split):
    """Of a split in the first folder of `data`, without .bin or .idx."""
    return os.path.join(utils.split_paths(data)[0], split)


def load_text(data, split, dictionary, dataset_impl=None):
    """The Text of `split`. Raises ValueError if it is not there, is empty, or is plain text."""
    path = split_path(data, split)
    folder = os.path.dirname(path)
    if is_empty(path):
        raise ValueError(f"the split {split} in {folder} is empty")
    kind = dataset_impl or indexed_dataset.infer_dataset_impl(path)
    if kind == "raw":
        raise ValueError(f"{path} is plain text: make a data-bin of it with fairseq-preprocess")
    kind = "lazy" if kind == "cached" else kind  # which would have to be told what to keep
    items = data_utils.load_indexed_dataset(path, dictionary, kind)
    if items is None:
        raise ValueError(f"there is no split {split} in {folder}")
    return Text(items)


def is_empty(path):
    """Is the split at `path` there, and without a token?"""
    return os.path.exists(f"{path}.bin") and os.path.getsize(f"{path}.bin") == 0


def windowed(text, task, schedule, documents="none", opening="document", opener=None):
    """The WindowedDataset of `text` for a language modeling `task` of fairseq's."""
    source = task.source_dictionary
    return WindowedDataset(
        text,
        text.documents(documents),
        schedule,
        source,
        task.target_dictionary,
        opening,
        opener,
        bos=source.bos() if getattr(task.args, "add_bos_token", False) else None,
    )
