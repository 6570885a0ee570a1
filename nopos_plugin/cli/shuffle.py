"""nopos-shuffle: what the order of words is worth to a model, and each eighth of its window."""

import argparse
import random
import sys
import time

import torch
from tqdm import tqdm

from nopos_plugin.cli import arguments, preparing
from nopos_plugin.cli.analyse import add_options, analyse, windows
from nopos_plugin.cli.measure import TOKENS
from nopos_plugin.evaluation import losses
from nopos_plugin.evaluation.results import SHUFFLE
from nopos_plugin.evaluation.scorer import nats
from nopos_plugin.evaluation.shuffle import EIGHTHS, by_eighth, gap, shuffled
from nopos_plugin.evaluation.table import SHUFFLES
from nopos_plugin.evaluation.windows import LastOfEach
from nopos_plugin.provenance import provenance

COMMAND = "nopos-shuffle"
SHORTEST = 8  # of the prefixes, unless said


def parser():
    made = argparse.ArgumentParser(
        prog=COMMAND,
        description="Word-order analysis (Haviv et al., 2022): the loss of the tokens after a "
        "prefix, in order and with all tokens of the prefix, the last one too, in a random order "
        "drawn for each window, prefix and seed. Scored are the last tokens of blocks of L, the "
        "same after every prefix, by the whole softmax. "
        "Segment analysis: the loss by eighth of windows of L, without overlap, over the whole "
        "split. Each result is printed and added to a file, a line of JSON; one that is there "
        "already is not made again. nopos-plot draws both.",
    )
    add_options(made)
    add = made.add_argument
    add("--split", default="valid", help="default: valid")
    add(
        "--prefixes",
        type=arguments.counts,
        metavar="P,..",
        help=f"tokens before the scored ones (default: {SHORTEST}, {2 * SHORTEST}, "
        f"{4 * SHORTEST}, ..., as far as L goes)",
    )
    add(
        "--after",
        type=arguments.count,
        default=1,
        metavar="N",
        help="tokens that are scored after a prefix (default: 1, as published)",
    )
    add(
        "--keep-last",
        type=int,
        default=0,
        metavar="N",
        help="tokens right before the scored ones that stay where they are (default: 0, as "
        "published: all of the prefix moves)",
    )
    add(
        "--samples",
        type=arguments.count,
        default=500,
        metavar="M",
        help="blocks, drawn once from the split, or all if there are fewer (default: 500; the "
        "paper: 100)",
    )
    add(
        "--permutations",
        type=arguments.count,
        default=1,
        metavar="K",
        help="orders of each prefix, of whose losses the mean counts (default: 1)",
    )
    add(
        "--max-tokens",
        type=arguments.count,
        metavar="N",
        help=f"tokens of a batch (default: {TOKENS['cpu']} on a CPU, else {TOKENS['cuda']}, or one "
        "window if longer)",
    )
    add("--output", default="shuffle.jsonl", metavar="FILE", help="default: shuffle.jsonl")
    return made


def main(typed=None):
    """The exit status: 0 if every result is there, else 1. (argparse exits with 2.)"""
    options = parser().parse_args(typed)
    return preparing.run(COMMAND, lambda: analyse(options, SHUFFLE, SHUFFLES, Shuffling))


class Shuffling:
    """The losses of `subject` that the `options` of nopos-shuffle ask for.

    Raises ValueError for sizes that do not fit each other or the split.
    """

    def __init__(self, subject, options):
        self.subject, self.options = subject, options
        self.split, self.blocks = windows(subject, options.split, options)
        self.length = self.blocks.schedule.window
        if self.length % EIGHTHS:
            raise ValueError(f"--length {self.length}: name a multiple of {EIGHTHS}, for eighths")
        most = max(0, self.length - options.after + 1)
        powers = (SHORTEST * 2**n for n in range(self.length.bit_length()))
        self.prefixes = sorted(options.prefixes or [size for size in powers if size <= most])
        if not self.prefixes or self.prefixes[-1] > most:
            asked = ",".join(map(str, self.prefixes or [SHORTEST]))
            raise ValueError(
                f"--prefixes {asked}: with --after {options.after} in blocks of {self.length} they "
                f"have {most} tokens at most"
            )
        if not 0 <= options.keep_last < self.prefixes[0]:
            raise ValueError(
                f"--keep-last {options.keep_last}: name 0 to {self.prefixes[0] - 1}, fewer than "
                "the shortest prefix has"
            )
        self.count = len(self.split) // self.length
        self.samples = min(options.samples, self.count)

    def described(self):
        """What a result says of the prefixes."""
        return {
            **self.split.described(),
            "length_tokens": self.length,
            "prefixes_tokens": self.prefixes,
            "after_tokens": self.options.after,
            "kept_tokens": self.options.keep_last,
            "samples": self.samples,
            "permutations": self.options.permutations,
            "seed": self.options.seed,
        }

    def measured(self):
        """What it says of the losses, and of how they were made."""
        start = time.monotonic()
        drawn = random.Random(self.options.seed).sample(range(self.count), self.samples)
        with torch.inference_mode(), self.progress() as bar:
            fields = self.eighths(bar)
            fields["by_prefix"] = [
                {"prefix_tokens": size, **self.orders(size, sorted(drawn), bar)}
                for size in self.prefixes
            ]
        return {
            **fields,
            "seconds": round(time.monotonic() - start, 3),
            **provenance(self.options.device),
        }

    def eighths(self, bar):
        """Of all windows of the split, each of whose tokens is scored once."""
        dataset, found = self.blocks, losses.Losses(len(self.split))
        batches = self.batches(dataset, range(len(dataset)), dataset.__getitem__)
        scored = losses.score(self.subject.model, dataset, batches, found, self.options.device)
        for indices in scored:
            bar.update(sum(map(dataset.num_tokens, indices)))
        places = losses.positions(dataset)
        whole = losses.summary(found, places)
        return {
            "tokens": whole["tokens"],
            "nats": whole["nats"],
            "by_eighth": by_eighth(found.nats, places, self.length),
        }

    def orders(self, prefix, drawn, bar):
        """What other orders of the `prefix` cost the tokens after it, in the blocks `drawn`."""
        after, count = self.options.after, 1 + self.options.permutations
        dataset = self.split.windows(LastOfEach(prefix + after - 1, after, self.length))
        begin = int(dataset.bos is not None)

        def sample(item):
            number, index = item
            made = dataset[index]
            if number:
                key = f"{self.options.seed} {index} {prefix} {number}"
                moved = prefix - self.options.keep_last
                made["source"] = shuffled(made["source"], begin, moved, key)
            return made

        asked = [(number, index) for number in range(count) for index in drawn]
        found = []
        for batch in self.batches(dataset, asked, sample):
            batch = losses.on(batch, self.options.device)
            found.append(nats(self.subject.model, batch, dataset.dictionary.pad()).cpu())
            bar.update(batch["net_input"]["src_tokens"].numel())
        made = torch.cat(found).view(count, len(drawn), after)
        if not made.isfinite().all():
            raise ValueError(
                f"{self.subject.path}: a loss after {prefix} tokens is no finite number"
            )
        return gap(made[0], made[1:])

    def batches(self, dataset, items, sample):
        """Batches of the `sample` of each of the `items`, all windows of `dataset`."""
        most = self.options.max_tokens or TOKENS[self.options.device]
        size = max(1, most // dataset.num_tokens(0))
        for first in range(0, len(items), size):
            yield dataset.collater(list(map(sample, items[first : first + size])))

    def progress(self):
        """A bar of tokens, context and all."""
        orders = self.samples * (1 + self.options.permutations)
        prefixes = sum(size + self.options.after - 1 for size in self.prefixes)
        return tqdm(
            total=len(self.split) + orders * prefixes,
            desc="shuffle",
            unit=" tokens",
            unit_scale=True,
            leave=False,
            mininterval=0.5 if sys.stderr.isatty() else 30,
        )


if __name__ == "__main__":
    sys.exit(main())
