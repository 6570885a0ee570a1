"""nopos-probe: at which layer does a model know where in its window a token is?"""

import argparse
import sys
import time

import torch
from tqdm import tqdm

from nopos_plugin.cli import arguments, preparing
from nopos_plugin.cli.analyse import add_options, analyse, windows
from nopos_plugin.data import order
from nopos_plugin.evaluation.losses import on
from nopos_plugin.evaluation.probe import Probes, hidden, measure, random_error, summary, train
from nopos_plugin.evaluation.results import PROBE
from nopos_plugin.evaluation.table import PROBES
from nopos_plugin.provenance import provenance

COMMAND = "nopos-probe"


def parser():
    made = argparse.ArgumentParser(
        prog=COMMAND,
        description="Position probes (Haviv et al., 2022): of the hidden states after the "
        "embedding (layer 0) and after each layer of a frozen model, a network of two layers "
        "learns to tell where in its window a token is. All layers are probed in one pass. Beside "
        "each probe goes a control, the same network on the same states, trained on shuffled "
        "labels. Measured are the mean absolute error, in tokens, and the accuracy, on windows of "
        "another split. A random guess is off by (L^2 - 1) / (3 L), the middle always by L / 4. "
        "Each result is printed and added to a file, a line of JSON; one that is there already is "
        "not made again. nopos-plot draws the error by layer.",
    )
    add_options(made)
    add = made.add_argument
    add("--split", default="valid", help="to measure on (default: valid)")
    add("--train-split", default="train", metavar="SPLIT", help="of the probes (default: train)")
    add(
        "--updates",
        type=arguments.count,
        default=2000,
        metavar="N",
        help="of the probes (default: 2000; the paper: 10,000 of 64,000 tokens)",
    )
    add(
        "--batch-tokens",
        type=arguments.count,
        default=4096,
        metavar="N",
        help="of an update, in whole windows, at least one (default: 4096)",
    )
    add(
        "--lr",
        type=arguments.positive,
        default=0.002,
        metavar="X",
        help="the highest of AdamW, which rises from 0 and falls to 0 (default: 0.002, the "
        "paper's)",
    )
    add("--output", default="probe.jsonl", metavar="FILE", help="default: probe.jsonl")
    return made


def main(typed=None):
    """The exit status: 0 if every result is there, else 1. (argparse exits with 2.)"""
    options = parser().parse_args(typed)
    return preparing.run(COMMAND, lambda: analyse(options, PROBE, PROBES, Probing))


class Probing:
    """The probes of `subject` that the `options` of nopos-probe ask for."""

    def __init__(self, subject, options):
        if options.split == options.train_split:
            raise ValueError(
                f"--split {options.split}: it is what the probes are trained on; name another split"
            )
        self.subject, self.options = subject, options
        self.seen_split, self.seen = windows(subject, options.train_split, options)
        self.split, self.unseen = windows(subject, options.split, options)
        self.length = self.unseen.schedule.window

    def described(self):
        """What a result says of the probes."""
        options = self.options
        return {
            **self.split.described(),
            "train_split": options.train_split,
            "train_data_sha256": self.seen_split.sha256,
            "length_tokens": self.length,
            "updates": options.updates,
            "batch_tokens": options.batch_tokens,
            "lr": options.lr,
            "seed": options.seed,
            "random_error_tokens": random_error(self.length),
        }

    def measured(self):
        """What it says of their answers, and of how they were made."""
        start, options = time.monotonic(), self.options
        draw = torch.Generator().manual_seed(options.seed)
        ((states, _),) = self.states(self.unseen, [[0]])
        probes = Probes(len(states), states.size(-1), self.length, draw).to(options.device)
        size = max(1, options.batch_tokens // self.length)
        asked = order.batches(len(self.seen), size, options.updates, options.seed)
        batches = self.states(self.seen, asked)
        training = train(probes, batches, options.updates, options.lr, draw)
        for losses in self.progress(training):
            if not losses.isfinite().all():
                raise ValueError(
                    f"--lr {options.lr:g}: a loss of the probes of {self.subject.path} is infinite "
                    "or no number; name a lower one, or another --dtype"
                )
        count = len(self.unseen)
        rest = [range(first, min(first + size, count)) for first in range(0, count, size)]
        return {
            **summary(*measure(probes, self.states(self.unseen, rest), draw)),
            "windows": count,
            "train_windows": len(self.seen),
            "seconds": round(time.monotonic() - start, 3),
            **provenance(options.device),
        }

    def states(self, dataset, batches):
        """States and places of the tokens of each batch of windows, made when it is asked for."""
        for batch in batches:
            sample = dataset.collater([dataset[index] for index in batch])
            sample = on(sample, self.options.device)
            yield hidden(self.subject.model, sample, dataset.dictionary.pad())

    def progress(self, updates):
        return tqdm(
            updates,
            total=self.options.updates,
            desc="probes",
            unit=" updates",
            leave=False,
            mininterval=0.5 if sys.stderr.isatty() else 30,
        )


if __name__ == "__main__":
    sys.exit(main())
