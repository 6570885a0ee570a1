"""nopos-prepare-text: text of one's own, tokenized into a data-bin."""

import argparse
import sys

from nopos_plugin.cli import preparing
from nopos_plugin.prepare.batch import Recipe
from nopos_plugin.prepare.build import build
from nopos_plugin.prepare.documents import JsonLines
from nopos_plugin.prepare.plain import ENDS, PlainText
from nopos_plugin.prepare.tokenizers import add_options as add_tokenizers
from nopos_plugin.prepare.tokenizers import get

COMMAND = "nopos-prepare-text"


def parser():
    made = argparse.ArgumentParser(
        prog=COMMAND,
        description="Make a data-bin of text files. A document is one item of it, its newlines are "
        "tokens, and a </s> is after it. Stopped or killed, the same command goes on; the data-bin "
        "is there when it is whole.",
    )
    add = made.add_argument
    add("sources", nargs="+", metavar="SOURCE", help="files, folders, patterns or URLs")
    add(
        "--documents",
        choices=(*ENDS, "json"),
        default="file",
        help="what is one: a file (default), a line, what blank lines part, an article of "
        'WikiText, or a line of JSON with a "text"',
    )
    add("--encoding", default="utf-8", help="of the files (default: utf-8)")
    add(
        "--seed",
        type=int,
        metavar="N",
        help="shuffle the documents; without it they keep the order of the files",
    )
    preparing.add_options(made)
    add_tokenizers(made)
    return made


def main(typed=None):
    """The exit status: 0 if the data-bin is there, else 1. (argparse exits with 2.)"""
    options = parser().parse_intermixed_args(typed)
    return preparing.run(COMMAND, lambda: prepare(options))


def prepare(options):
    if options.isolate_separators is None:
        options.isolate_separators = get(options.tokenizer).merges
    json = options.documents == "json"
    recipe = Recipe(
        JsonLines() if json else PlainText(options.documents, options.encoding),
        preparing.tokenizer(options),
        None,
        ("",),
        frozenset({""}),
        options.seed,
    )
    made = build(
        options.dest,
        preparing.all_sources(options),
        recipe,
        preparing.wanted(options),
        made_by=COMMAND,
        options=preparing.kept(options),
        num_workers=options.workers,
        max_invalid=options.max_invalid,
    )
    print(preparing.printed(made, options.dest))


if __name__ == "__main__":
    sys.exit(main())
