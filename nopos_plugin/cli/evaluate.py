"""nopos-evaluate: the perplexity of checkpoints at any lengths, and what it is made of."""

import argparse
import ast
import math
import os
import sys
import time

import torch
from fairseq.data import data_utils
from tqdm import tqdm

from nopos_plugin.cli import arguments
from nopos_plugin.cli.checkpoint import Checkpoint
from nopos_plugin.data.load import load_text, split_path, windowed
from nopos_plugin.data.text import BOUNDARIES
from nopos_plugin.data.windowed import OPENINGS
from nopos_plugin.evaluation import losses, results, units
from nopos_plugin.evaluation.allocator import keep_freed_memory
from nopos_plugin.evaluation.processes import Processes
from nopos_plugin.evaluation.windows import LastOfEach, Sliding
from nopos_plugin.provenance import digest, provenance

TOKENS = {"cpu": 4096, "cuda": 8192}  # of a batch, unless one window has more
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def parser():
    made = argparse.ArgumentParser(
        prog="nopos-evaluate",
        description="Perplexity of language models at any lengths. A window of so many tokens is "
        "one forward; it scores the tokens that no window before it scored, so that all tokens of "
        "the split are scored once at every length. Each result is printed and added to a file, a "
        "line of JSON; one that is there already is not made again. Under torchrun the processes "
        "share the windows.",
    )
    add = made.add_argument
    add("data", metavar="DATA", help="the data-bin")
    add("--path", required=True, metavar="CKPT,..", help="checkpoints of language models")
    add("--lengths", required=True, type=arguments.counts, metavar="W,..", help="tokens a window")
    add(
        "--stride",
        type=strides,
        default=("window",),
        metavar="S,..",
        help="new tokens that a window scores after the first; `window`: as many as it has, "
        "without overlap (default); 1 gives every token the most context",
    )
    add(
        "--last-tokens",
        type=arguments.count,
        metavar="N",
        help="score the last N tokens of each block of the largest length as well: the same tokens "
        "at every length, with more and more context",
    )
    add("--split", default="valid", help="default: valid")
    add(
        "--first-window",
        type=arguments.name("window", "stride"),
        default="window",
        metavar="window|stride",
        help="what the first window scores: all that it sees (default), or as many as the others, "
        "as fairseq-eval-lm --context-window does",
    )
    add(
        "--documents",
        type=arguments.name(*BOUNDARIES),
        default="none",
        metavar="|".join(BOUNDARIES),
        help="what no window crosses: nothing (default), ends of lines, or blank lines",
    )
    add(
        "--opening",
        type=arguments.name(*OPENINGS),
        default="document",
        metavar="|".join(OPENINGS),
        help="</s> (<s> with --add-bos-token) opens the first window of a document, and later ones "
        "open with the token before them (default), or it opens every window",
    )
    add("--position-args", metavar="K=V,..", help="options of the encoding, over the checkpoint's")
    add(
        "--model-overrides",
        default={},
        type=overrides,
        metavar="{..}",
        help="others of the model, as of fairseq-eval-lm: \"{'attention_window': 512}\"",
    )
    add(
        "--max-tokens",
        type=arguments.count,
        metavar="N",
        help=f"tokens of a batch, context included (default: {TOKENS['cpu']} on a CPU, else "
        f"{TOKENS['cuda']}, or one window if longer)",
    )
    add(
        "--tokens-are",
        type=arguments.name(*units.KINDS),
        metavar="|".join(units.KINDS),
        help="for perplexity a word and bits a byte, where no manifest.json has the counts",
    )
    add("--device", type=arguments.device, default=default_device(), metavar="cpu|cuda")
    add(
        "--dtype",
        type=arguments.name(*DTYPES),
        default="float32",
        metavar="|".join(DTYPES),
        help="of the model; losses are float32, their sums float64 (default: float32)",
    )
    add("--num-workers", type=int, default=0, metavar="N", help="processes that load data")
    add("--user-dir", metavar="DIR", help="a fairseq user directory besides this plugin")
    add("--output", default="results.jsonl", metavar="FILE", help="default: results.jsonl")
    return made


def strides(text):
    """Whole numbers and the word `window`, joined by commas."""
    return tuple(one if one == "window" else arguments.count(one) for one in text.split(","))


def overrides(text):
    """A dictionary, as Python writes it."""
    try:
        made = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        made = None
    if not isinstance(made, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no dictionary such as {{'key': 'value'}}")
    return made


def default_device():
    return "cuda" if torch.cuda.is_available() else "cpu"


def main(arguments=None):
    """The exit status: 0 if every result is there, else 1. (argparse exits with 2.)"""
    options = parser().parse_args(arguments)
    keep_freed_memory()
    processes = Processes(options.device)
    try:
        evaluate(options, processes)
    except (ValueError, OSError) as error:
        print(f"nopos-evaluate: {error}", file=sys.stderr)
        return 1
    finally:
        processes.close()
    return 0


def evaluate(options, processes):
    """Make every result that the output lacks, and print all."""
    asked = schedules(options)
    known = results.read(options.output)
    if processes.first:
        results.check_writable(options.output)
    changes = dict(options.model_overrides)
    if options.position_args is not None:
        changes["position_args"] = options.position_args
    if processes.first:
        print(heading(), flush=True)
    for path in options.path.split(","):
        checkpoint = Checkpoint(
            path, options.data, changes, options.device, DTYPES[options.dtype], options.user_dir
        )
        for schedule in asked:
            checkpoint.refuse_beyond_reach(schedule.window)
        split = Split(options, checkpoint.task)
        for schedule in asked:
            row = {**checkpoint.described(), **split.described(), **described(schedule)}
            done = next((each for each in known if results.same(row, each)), None)
            if done is None:
                done = {**row, **measured(checkpoint, split, schedule, options, processes)}
                if processes.first:
                    results.append(options.output, done)
            if processes.first:
                print(line(done), flush=True)


def schedules(options):
    """Of every result of a checkpoint, shorter windows first. Raises ValueError for bad sizes."""
    made = []
    for window in sorted(options.lengths):
        for stride in options.stride:
            size = window if stride == "window" else stride
            made.append(Sliding(window, size, size if options.first_window == "stride" else None))
        if options.last_tokens is not None:
            made.append(LastOfEach(window, options.last_tokens, max(options.lengths)))
    return list(dict.fromkeys(made))


class Split:
    """The text of one split, and what results say of it."""

    def __init__(self, options, task):
        self.options, self.task = options, task
        self.text = load_text(options.data, options.split, task.source_dictionary)
        path = split_path(options.data, options.split)
        files = [path + end for end in (".idx", ".bin") if os.path.exists(path + end)]
        dictionary = os.path.join(os.path.dirname(path), "dict.txt")
        self.sha256 = digest(*files, dictionary)

    def described(self):
        return {
            "data": self.options.data,
            "data_sha256": self.sha256,
            "split": self.options.split,
            "documents": self.options.documents,
            "opening": self.options.opening,
            "dtype": self.options.dtype,
        }

    def windows(self, schedule):
        """The WindowedDataset by `schedule`. Raises ValueError if it has no window."""
        options = self.options
        made = windowed(self.text, self.task, schedule, options.documents, options.opening)
        if not len(made):
            raise ValueError(
                f"{options.split} has {len(self.text):,} tokens and no block of "
                f"{schedule.block:,}: name smaller --lengths"
            )
        return made

    def units(self):
        """Its words and bytes, None for what is not known."""
        folder = os.path.dirname(split_path(self.options.data, self.options.split))
        known = units.from_manifest(folder, self.options.split, len(self.text))
        if known is not None:
            return known
        if self.options.tokens_are is None:
            return {"words": None, "bytes": None}
        dictionary = self.task.source_dictionary
        counts = self.text.counts(len(dictionary)).tolist()
        lines = int((self.text.sizes > 1).sum())
        return units.from_tokens(self.options.tokens_are, dictionary.symbols, counts, lines)


def described(schedule):
    """What a result says of its windows. `targets`: which are scored."""
    if isinstance(schedule, LastOfEach):
        targets = f"the last {schedule.last} of each {schedule.block}"
        return {"window_tokens": schedule.window, "targets": targets}
    return {
        "window_tokens": schedule.window,
        "stride_tokens": schedule.stride,
        "first_window_tokens": schedule.first or schedule.window,
        "targets": "all",
    }


def measured(checkpoint, split, schedule, options, processes):
    """What it says of the losses, and of how they were made."""
    dataset = split.windows(schedule)
    batches = processes.share(batched(dataset, options.max_tokens, TOKENS[options.device]))
    found = losses.Losses(len(split.text))
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
    if fields["tokens"] == len(split.text):
        fields |= units.per_unit(fields["nats"], **split.units())
    return {
        **fields,
        "split_tokens": len(split.text),
        "windows": len(dataset),
        "longest_window_tokens": max(map(dataset.num_tokens, range(len(dataset)))),
        "seconds": round(seconds, 3),
        "tokens_per_second": round(fields["tokens"] / seconds, 1),
        "processes": processes.count,
        **provenance(options.device),
    }


def batched(dataset, max_tokens, usual):
    """Lists of windows, context and all up to `max_tokens`; ValueError if one has more.

    If `max_tokens` is None, it is the `usual`, or as many as the longest has.
    """
    order = dataset.ordered_indices()
    longest = dataset.num_tokens(order[0])
    if max_tokens is not None and longest > max_tokens:
        raise ValueError(f"--max-tokens {max_tokens} holds no window of {longest} tokens")
    return data_utils.batch_by_size(
        order,
        dataset.num_tokens,
        dataset.num_tokens_vec(order),
        max_tokens=max_tokens or max(usual, longest),
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


COLUMNS = (
    # title, width, what of a result
    ("checkpoint", -32, lambda row: row["checkpoint"][-32:]),
    ("encoding", -12, lambda row: row["position_encoding"] or "stock"),
    ("window", 7, lambda row: f"{row['window_tokens']}"),
    ("stride", 7, lambda row: f"{row.get('stride_tokens') or 'last'}"),
    ("tokens", 11, lambda row: f"{row['tokens']:,}"),
    ("bits/token", 10, lambda row: f"{row['bits_per_token']:.4f}"),
    ("ppl/token", 10, lambda row: number(row["perplexity_per_token"])),
    ("ppl/word", 10, lambda row: number(row.get("perplexity_per_word"))),
    ("bits/byte", 9, lambda row: number(row.get("bits_per_byte"))),
    ("seconds", 8, lambda row: f"{row['seconds']:.1f}"),
)


def heading():
    return "  ".join(pad(title, width) for title, width, _ in COLUMNS)


def line(row):
    """A result as a line of the table."""
    return "  ".join(pad(text(row), width) for _, width, text in COLUMNS)


def pad(text, width):
    return text.ljust(-width) if width < 0 else text.rjust(width)


def number(value):
    """With four decimals, or five digits if it is large."""
    if value is None:
        return "-"
    return f"{value:.4f}" if value < 1000 or math.isinf(value) else f"{value:.5g}"


if __name__ == "__main__":
    sys.exit(main())
