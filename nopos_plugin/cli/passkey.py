"""nopos-passkey: does a model find a number that was told once, far before it is asked for?"""

import argparse
import os
import sys
from functools import partial

from fairseq import utils

from nopos_plugin.cli import arguments, checkpoint, preparing
from nopos_plugin.cli.retrieve import TOKENS, Retrieval
from nopos_plugin.evaluation import results
from nopos_plugin.evaluation.passkey import NEW_TOKENS
from nopos_plugin.evaluation.results import PASSKEY
from nopos_plugin.evaluation.table import PASSKEYS, heading, line
from nopos_plugin.prepare.tokenizers import add_options as add_tokenizers
from nopos_plugin.prepare.tokenizers.coder import Coder, of_data_bin

COMMAND = "nopos-passkey"


def parser():
    made = argparse.ArgumentParser(
        prog=COMMAND,
        description="Passkey retrieval: prompts of filler that tell a number once and ask for it "
        f"at their end. An answer is right if the first number of {NEW_TOKENS} tokens, decoded "
        "greedily, is that number. Each result is printed and added to a file, a line of JSON; one "
        "that is there already is not made again. nopos-plot draws it by length and depth.",
    )
    add = made.add_argument
    add(
        "data",
        nargs="?",
        metavar="DATA",
        help="a data-bin with the checkpoint's dictionary and tokenizer (default: the one that it "
        "was trained on)",
    )
    checkpoint.add_options(made)
    add("--lengths", required=True, type=arguments.counts, metavar="L,..", help="of the prompts")
    add("--trials", type=arguments.count, default=50, metavar="N", help="a length (default: 50)")
    add(
        "--exact-length",
        action="store_true",
        help="prompt and answer have L tokens, exactly; default: filler as published, a copy of it "
        "for every 25 of L after 69, which is L less 4 %% in LLaMA's tokens",
    )
    add("--seed", type=int, default=1, metavar="N", help="of numbers and depths (default: 1)")
    add(
        "--max-tokens",
        type=arguments.count,
        metavar="N",
        help=f"tokens of a batch (default: {TOKENS['cpu']} on a CPU, else {TOKENS['cuda']}, or one "
        "prompt if longer)",
    )
    add("--output", default="passkey.jsonl", metavar="FILE", help="default: passkey.jsonl")
    add_tokenizers(made, required=False, help="default: what manifest.json in the data-bin says")
    return made


def main(typed=None):
    """The exit status: 0 if every result is there, else 1. (argparse exits with 2.)"""
    options = parser().parse_intermixed_args(typed)
    return preparing.run(COMMAND, lambda: retrieve(options))


def retrieve(options):
    """Make every result that the output lacks, and print all."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("runs in one process: leave torchrun out")
    known = results.read(options.output, PASSKEY)
    paths = checkpoint.paths(options.path)
    results.mend(options.output)
    print(heading(PASSKEYS), flush=True)
    for path in paths:
        subject = checkpoint.Checkpoint(path, options.data, options)
        coder = Coder(tokenizer(options, subject.config.task.data), subject.task.source_dictionary)
        retrieval = Retrieval(subject, coder, options)
        asked = {length: retrieval.trials(length) for length in sorted(options.lengths)}
        for length, trials in asked.items():
            row = {**subject.described(), **retrieval.described(length)}
            measured = partial(retrieval.measured, trials)
            made = results.kept(options.output, row, known, PASSKEY, measured)
            try:
                print(line(made, PASSKEYS), flush=True)
            except (KeyError, TypeError) as error:
                raise ValueError(
                    f"{options.output}: the result of {path} at {length} tokens is not whole "
                    f"({error!r}); remove its line"
                ) from None


def tokenizer(options, data):
    """That of the data-bin `data`, or as options say. Raises ValueError if there is none."""
    given = {key: getattr(options, key) for key in preparing.tokenizer_options()}
    try:
        return of_data_bin(utils.split_paths(data)[0], options.tokenizer, **given)
    except OSError as error:
        raise ValueError(f"--tokenizer {options.tokenizer}: {error}") from None
    except ValueError as error:
        hint = "" if options.tokenizer else "; or name another DATA, or the --tokenizer"
        raise ValueError(f"{error}{hint}") from None


if __name__ == "__main__":
    sys.exit(main())
