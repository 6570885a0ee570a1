"""nopos-prepare-wikitext103 and -wikitext2: the published texts, verified, as a data-bin."""

import argparse
import shlex
import sys
from pathlib import Path

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
    try:
        prepare(
            release,
            destination,
            options.source,
            options.from_dir,
            options.cache or destination.with_name(".downloads"),
            options.workers or cores(),
        )
    except (ValueError, OSError) as error:
        print(f"{made.prog}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{made.prog}: stopped; what came of a download is kept", file=sys.stderr)
        return 130
    if options.raw:
        train, valid, test = (str(Path(destination, f"wiki.{split}.raw")) for split in SPLITS)
        binarized = str(destination.with_name(f"{name}-gpt2"))
        following = ("nopos-prepare-text", train, "--valid", valid, "--test", test)
        following += ("--documents", "articles", "--tokenizer", "gpt2")
        following += ("--gpt2-encoder-json", "gpt2/encoder.json", "--dest", binarized)
        print(f"Next, for GPT-2's tokens: {shlex.join(following)}")
    return 0


def wikitext103(arguments=None):
    return main("wikitext-103", arguments)


def wikitext2(arguments=None):
    return main("wikitext-2", arguments)
