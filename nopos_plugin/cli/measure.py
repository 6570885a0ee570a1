"""One result of nopos-evaluate: a checkpoint, a split, and windows over it."""

import sys
import time

import torch
from fairseq.data import data_utils
from tqdm import tqdm

from nopos_plugin.evaluation import losses
from nopos_plugin.evaluation.windows import Between, LastOfEach
from nopos_plugin.provenance import provenance

TOKENS = {"cpu": 4096, "cuda": 8192}  # of a batch, unless one window has more


def described(schedule):
    """What a result says of its windows. `targets`: which are scored."""
    if isinstance(schedule, LastOfEach):
        targets = f"the last {schedule.last} of each {schedule.block}"
        return {"window_tokens": schedule.window, "targets": targets}
    if isinstance(schedule, Between):
        return {
            "window_tokens": schedule.window,
            "stride_tokens": schedule.stride,
            "first_window_tokens": schedule.stride,
            "targets": f"{schedule.begin} to {schedule.end - 1}",
        }
    return {
        "window_tokens": schedule.window,
        "stride_tokens": schedule.stride,
        "first_window_tokens": schedule.first or schedule.window,
        "targets": "all",
    }


def measured(checkpoint, split, dataset, options, processes):
    """What it says of the losses of the windows in `dataset`, and of how they were made."""
    batches = processes.share(batched(dataset, options.max_tokens, TOKENS[options.device]))
    found = losses.Losses(len(split))
    loader = torch.utils.data.DataLoader(
        dataset, batch_sampler=batches, collate_fn=dataset.collater, num_workers=options.num_workers
    )
    start = time.monotonic()
    with torch.inference_mode(), progress(dataset, batches, processes) as bar:
        for indices in losses.score(checkpoint.model, dataset, loader, found, options.device):
            bar.update(sum(map(dataset.num_tokens, indices)))
    processes.add_up(found)
    seconds = time.monotonic() - start
    fields = losses.summary(found, losses.positions(dataset))
    return {
        **fields,
        "split_tokens": len(split),
        "windows": len(dataset),
        "longest_window_tokens": dataset.longest(),
        "seconds": round(seconds, 3),
        "tokens_per_second": round(fields["tokens"] / seconds, 1),
        "processes": processes.count,
        **provenance(options.device),
    }


def batched(dataset, max_tokens, usual):
    """Lists of windows, context and all up to `max_tokens` tokens.

    If that is None, it is the `usual`, or as many as the longest has.
    """
    order = dataset.ordered_indices()
    return data_utils.batch_by_size(
        order,
        dataset.num_tokens,
        dataset.num_tokens_vec(order),
        max_tokens=max_tokens or max(usual, dataset.longest()),
    )


def progress(dataset, batches, processes):
    """A bar of tokens, context and all, with the time that is left."""
    window, stride = dataset.schedule.window, getattr(dataset.schedule, "stride", None)
    return tqdm(
        total=sum(dataset.num_tokens(index) for batch in batches for index in batch),
        desc=f"window {window}" + (f", stride {stride}" if stride else ", last tokens"),
        unit=" tokens",
        unit_scale=True,
        leave=False,
        mininterval=0.5 if sys.stderr.isatty() else 30,
        disable=not processes.first,
    )
