"""nopos-evaluate: the perplexity of checkpoints at any lengths, and what it is made of."""

import argparse
import ast
import os
import sys

import torch

from nopos_plugin.cli import arguments
from nopos_plugin.cli.checkpoint import DTYPES, Checkpoint
from nopos_plugin.cli.measure import TOKENS, described, measured
from nopos_plugin.data.split import Split
from nopos_plugin.data.text import BOUNDARIES
from nopos_plugin.data.windowed import OPENINGS
from nopos_plugin.evaluation import results, units
from nopos_plugin.evaluation.allocator import keep_freed_memory
from nopos_plugin.evaluation.processes import OtherProcessFailed, Processes
from nopos_plugin.evaluation.table import heading, line
from nopos_plugin.evaluation.windows import LastOfEach, Sliding


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
        help="</s> opens the first window of a document, and later ones open with the token before "
        "them (default), or it opens every window",
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
    processes = None
    try:
        processes = Processes(options.device)
        evaluate(options, processes)
    except (ValueError, OSError, OtherProcessFailed) as error:
        print(f"nopos-evaluate: {error}", file=sys.stderr)
        return 1
    finally:
        if processes is not None:
            processes.close()
    return 0


def evaluate(options, processes):
    """Make every result that the output lacks, and print all."""
    asked, checkpoints = schedules(options), paths(options.path)
    known = processes.agree(results.read(options.output))
    if processes.first:
        results.mend(options.output)
        print(heading(), flush=True)
    changes = dict(options.model_overrides)
    if options.position_args is not None:
        changes["position_args"] = options.position_args
    for path in checkpoints:
        checkpoint = Checkpoint(
            path, options.data, changes, options.device, options.dtype, options.user_dir
        )
        split = Split(
            options.data, options.split, checkpoint.task, options.documents, options.opening
        )
        counts = split.units(options.tokens_are)
        datasets = [split.windows(schedule) for schedule in asked]
        check(datasets, checkpoint, options.max_tokens)
        for schedule, dataset in zip(asked, datasets, strict=True):
            row = {**checkpoint.described(), **split.described(), **described(schedule)}
            done = results.find(row, known)
            made = done or {**row, **measured(checkpoint, split, dataset, options, processes)}
            if made["tokens"] == len(split):
                made = {**made, **units.per_unit(made["nats"], **units.known(counts, made))}
            if made != done:
                known.append(made)
                if processes.first:
                    results.append(options.output, made)
            if processes.first:
                print(line(made), flush=True)


def check(datasets, checkpoint, max_tokens):
    """Raises ValueError, before anything is evaluated, for a length that cannot be, or is another.

    datasets: of all lengths, shorter ones first.
    """
    longest = 0
    for dataset in datasets:
        window, before = dataset.schedule.window, longest
        checkpoint.refuse_beyond_reach(window)
        longest = dataset.longest()
        if longest < window and before == longest:
            raise ValueError(
                f"--lengths {window}: no window here has more than {longest} tokens, as at shorter "
                "lengths, so the result would be theirs; leave it out"
            )
        if max_tokens is not None and longest > max_tokens:
            raise ValueError(f"--max-tokens {max_tokens} holds no window of {longest} tokens")


def paths(text):
    """Of the checkpoints. Raises ValueError, before any is evaluated, if one is not there."""
    found = text.split(",")
    for path in found:
        if not os.path.exists(path):
            raise ValueError(f"--path {path}: there is no such file")
    return found


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


if __name__ == "__main__":
    sys.exit(main())
