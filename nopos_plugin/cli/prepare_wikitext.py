"""nopos-prepare-wikitext103 and -wikitext2: the published texts, verified, as a data-bin."""

import argparse
import shlex
from pathlib import Path

from nopos_plugin.cli import preparing
from nopos_plugin.cli.arguments import count
from nopos_plugin.prepare.wikitext import command, prepare
from nopos_plugin.prepare.wikitext_published import RELEASES, SPLITS
from nopos_plugin.provenance import cores


def parser(name):
    texts = RELEASES[name].texts
    made = argparse.ArgumentParser(
        prog=command(name),
        description=f"Download {name}, verify that it is the published text "
        f"({', '.join(f'{split} {texts[split].tokens:,}' for split in texts)} tokens), and make "
        "its data-bin by fairseq-preprocess. Downloads go on where they were cut; the data-bin is "
        "there when it is whole, not before.",
    )
    made.add_argument(
        "--dest",
        metavar="DIR",
        help=f"the data-bin (default: data-bin/{name}, with --raw data-bin/{name}-raw)",
    )
    source = made.add_mutually_exclusive_group()
    source.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="URL|PATH",
        help="try this before the known addresses: a zip archive, or where the parquet files of "
        "the Hugging Face dataset are; repeat it for more",
    )
    source.add_argument(
        "--from-dir",
        metavar="DIR",
        help="take the texts there, wiki.train.tokens (.raw with --raw) or train.txt and so on",
    )
    made.add_argument(
        "--raw",
        action="store_true",
        help="the raw texts, without <unk>, for BPE: stop when they are there and verified",
    )
    made.add_argument(
        "--workers",
        type=count,
        metavar="N",
        help="processes of fairseq-preprocess (default: one a core)",
    )
    made.add_argument(
        "--cache",
        metavar="DIR",
        help="where downloads are kept (default: .downloads beside the data-bin)",
    )
    return made


def main(name, arguments):
    """The exit status: 0 if the data-bin is there, else 1. (argparse exits with 2.)"""
    made = parser(name)
    options = made.parse_args(arguments)
    if options.raw and options.workers:
        made.error("--workers has no effect with --raw, which binarizes nothing; leave it out")
    if options.from_dir and options.cache:
        made.error("--cache has no effect with --from-dir, which downloads nothing; leave it out")
    release = f"{name}-raw" if options.raw else name
    destination = Path(options.dest or f"data-bin/{release}")
    cache = options.cache or destination.with_name(".downloads")

    def work():
        workers = options.workers or cores()
        prepare(release, destination, options.source, options.from_dir, cache, workers)
        if options.raw:
            print(f"Next, for GPT-2's tokens: {following(name, destination)}")

    return preparing.run(made.prog, work)


def following(name, destination):
    """The command that goes on from the raw texts in `destination`."""
    train, valid, test = (str(Path(destination, f"wiki.{split}.raw")) for split in SPLITS)
    typed = ["nopos-prepare-text", train, "--valid", valid, "--test", test]
    typed += ["--documents", "articles", "--tokenizer", "gpt2"]
    typed += ["--gpt2-encoder-json", "gpt2/encoder.json", "--no-isolate-separators"]
    return shlex.join([*typed, "--dest", str(destination.with_name(f"{name}-gpt2"))])


def wikitext103(arguments=None):
    return main("wikitext-103", arguments)


def wikitext2(arguments=None):
    return main("wikitext-2", arguments)
