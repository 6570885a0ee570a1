"""nopos-evaluate: the perplexity of checkpoints at any lengths, and what it is made of."""

import argparse
import sys
from fractions import Fraction

from nopos_plugin.cli import arguments, checkpoint
from nopos_plugin.cli.measure import TOKENS, described, measured
from nopos_plugin.data.split import Split
from nopos_plugin.data.text import BOUNDARIES
from nopos_plugin.data.windowed import OPENINGS
from nopos_plugin.evaluation import results, units
from nopos_plugin.evaluation.allocator import keep_freed_memory
from nopos_plugin.evaluation.processes import OtherProcessFailed, Processes
from nopos_plugin.evaluation.results import PERPLEXITY
from nopos_plugin.evaluation.table import PERPLEXITIES, heading, line
from nopos_plugin.evaluation.windows import Between, LastOfEach, Sliding


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
    checkpoint.add_options(made)
    add("--lengths", required=True, type=arguments.counts, metavar="W,..", help="tokens a window")
    add(
        "--stride",
        type=strides,
        default=(Fraction(1),),
        metavar="S,..",
        help="new tokens that a window scores after the first; `window`: as many as it has, "
        "without overlap (default); `window/8`: an eighth of them, so that at every length each "
        "token sees 7/8 of the window at least; 1 gives every token the most context",
    )
    add(
        "--last-tokens",
        type=arguments.count,
        metavar="N",
        help="score the last N tokens of each block of the largest length as well: the same tokens "
        "at every length, with more and more context",
    )
    add(
        "--targets",
        type=arguments.span,
        metavar="BEGIN:END",
        help="score these tokens of the split alone, counted from 0, END not among them: a sample, "
        "the same at every length and stride; windows reach back to what is before BEGIN",
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
    add("--num-workers", type=int, default=0, metavar="N", help="processes that load data")
    add("--output", default="results.jsonl", metavar="FILE", help="default: results.jsonl")
    return made


def strides(text):
    """Whole numbers, `window` and `window/N`, joined by commas."""
    return tuple(stride(one) for one in text.split(","))


def stride(text):
    """So many tokens, or the part 1/N of a window as a Fraction."""
    word, slash, parts = text.partition("/")
    if word != "window":
        return arguments.count(text)
    return Fraction(1, arguments.count(parts) if slash else 1)


def new_tokens(stride, window):
    """Of each window of so many tokens. Raises ValueError if that is no whole number."""
    if not isinstance(stride, Fraction):
        return stride
    if window % stride.denominator:
        raise ValueError(
            f"--stride window/{stride.denominator}: --lengths {window} has no such part"
        )
    return window // stride.denominator


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
    asked, paths = schedules(options), checkpoint.paths(options.path)
    known = processes.agree(results.read(options.output, PERPLEXITY))
    if processes.first:
        results.mend(options.output)
        print(heading(PERPLEXITIES), flush=True)
    for path in paths:
        subject = checkpoint.Checkpoint(path, options.data, options)
        how = options.documents, options.opening, subject.opener()
        split = Split(options.data, options.split, subject.task, *how)
        counts = split.units(options.tokens_are)
        datasets = [split.windows(schedule) for schedule in asked]
        check(datasets, subject, options.max_tokens)
        for schedule, dataset in zip(asked, datasets, strict=True):
            row = {**subject.described(), **split.described(), **described(schedule)}
            done = results.find(row, known, PERPLEXITY)
            made = done or {**row, **measured(subject, split, dataset, options, processes)}
            if made["tokens"] == len(split):
                made = {**made, **units.per_unit(made["nats"], **units.known(counts, made))}
            if made != done:
                known.append(made)
                if processes.first:
                    results.append(options.output, made, PERPLEXITY)
            if processes.first:
                print(line(made, PERPLEXITIES), flush=True)


def check(datasets, subject, max_tokens):
    """Raises ValueError, before anything is evaluated, for a length that cannot be, or is another.

    datasets: of all lengths, shorter ones first.
    """
    longest = 0
    for dataset in datasets:
        window, before = dataset.schedule.window, longest
        subject.refuse_beyond_reach(window)
        longest = dataset.longest()
        if longest < window and before == longest:
            raise ValueError(
                f"--lengths {window}: no window here has more than {longest} tokens, as at shorter "
                "lengths, so the result would be theirs; leave it out"
            )
        if max_tokens is not None and longest > max_tokens:
            raise ValueError(f"--max-tokens {max_tokens} holds no window of {longest} tokens")


def refuse_two_samples(options):
    """Raise ValueError for options that say otherwise than --targets what is scored."""
    others = {
        "--last-tokens": options.last_tokens is not None,
        "--documents": options.documents != "none",
        "--first-window": options.first_window != "window",
    }
    for name, given in others.items():
        if given and options.targets is not None:
            raise ValueError(f"--targets says what is scored: leave out {name}")


def schedules(options):
    """Of every result of a checkpoint, shorter windows first. Raises ValueError for bad sizes."""
    refuse_two_samples(options)
    made = []
    for window in sorted(options.lengths):
        for stride in options.stride:
            size = new_tokens(stride, window)
            if options.targets is not None:
                made.append(Between(window, size, *options.targets))
                continue
            made.append(Sliding(window, size, size if options.first_window == "stride" else None))
        if options.last_tokens is not None:
            made.append(LastOfEach(window, options.last_tokens, max(options.lengths)))
    return list(dict.fromkeys(made))


if __name__ == "__main__":
    sys.exit(main())
