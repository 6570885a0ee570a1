"""A split of a data-bin."""

import os

from fairseq import utils
from fairseq.data import data_utils

from nopos_plugin.data.text import Text
from nopos_plugin.data.windowed import WindowedDataset


def split_path(data, split):
    """Of a split in the first folder of `data`, without .bin or .idx."""
    return os.path.join(utils.split_paths(data)[0], split)


def load_text(data, split, dictionary, dataset_impl=None):
    """The Text of `split`. Raises ValueError if it is not there, or is empty."""
    path = split_path(data, split)
    items = data_utils.load_indexed_dataset(path, dictionary, dataset_impl)
    if items is None:
        raise ValueError(f"there is no split {split} in {os.path.dirname(path)}")
    text = Text(items)
    if not len(text):
        raise ValueError(f"the split {split} in {os.path.dirname(path)} is empty")
    return text


def windowed(text, task, schedule, documents="none", opening="document"):
    """The WindowedDataset of `text` for a language modeling `task` of fairseq's."""
    source, bos = task.source_dictionary, getattr(task.args, "add_bos_token", False)
    return WindowedDataset(
        text,
        text.documents(documents),
        schedule,
        source,
        task.target_dictionary,
        bos=source.bos() if bos else source.eos(),
        opening=opening,
    )
