"""Options that nopos-prepare-pile and nopos-prepare-text have in common, and what they end with."""

import logging
import os
import signal
import sys
from collections import Counter
from pathlib import Path

from nopos_plugin.cli import arguments
from nopos_plugin.prepare import sources
from nopos_plugin.prepare.choose import Wanted
from nopos_plugin.prepare.spooling import Source
from nopos_plugin.prepare.tokenizers import build as build_tokenizer
from nopos_plugin.prepare.tokenizers import get, names
from nopos_plugin.provenance import cores


def add_options(parser):
    add = parser.add_argument
    add("--valid", nargs="+", default=[], metavar="SOURCE", help="all documents of the valid split")
    add("--test", nargs="+", default=[], metavar="SOURCE", help="all documents of the test split")
    for split in ("valid", "test"):
        add(
            f"--{split}-documents",
            type=arguments.amount,
            default=0,
            metavar="N",
            help=f"so many of the sources' documents, the next in their order, are the {split} "
            "split instead; below 1, that share of them, at least one (default: 0)",
        )
    add("--max-documents", type=arguments.count, metavar="N", help="of training, at most")
    add("--max-tokens", type=arguments.count, metavar="N", help="of training, at most")
    add("--min-tokens", type=arguments.count, metavar="N", help="of a document, at least")
    for name, which in (("threshold", "occur less often"), ("nwords", "come after so many")):
        said = f"with --tokenizer words or moses: words that {which} are <unk>"
        add(f"--{name}", type=arguments.count, metavar="N", help=said)
    add("--dest", required=True, metavar="DIR", help="the data-bin, which must not be there yet")
    add("--cache", default="downloads", metavar="DIR", help="for what URLs name (downloads)")
    add(
        "--workers",
        type=arguments.count,
        default=cores(),
        metavar="N",
        help="processes that tokenize; they change nothing in what is made (default: as many as "
        "there are cores)",
    )
    add(
        "--max-invalid",
        type=arguments.part,
        default=0.0001,
        metavar="X",
        help="the share of a file's lines that may be no document (default: 0.0001)",
    )


def tokenizer(options):
    """The tokenizer that `options` name, built from those of them that are its own."""
    given = {key: value for key, value in vars(options).items() if key in tokenizer_options()}
    try:
        return build_tokenizer(options.tokenizer, **given)
    except (ValueError, OSError) as error:
        if not isinstance(error, UnicodeError):
            raise
        reason = error
    except Exception as error:  # whatever a file of something else leads to
        reason = error
    raise ValueError(f"--tokenizer {options.tokenizer}: its files cannot be used ({reason!r})")


def tokenizer_options():
    """Names of the options of all tokenizers."""
    return {option for name in names() for option in get(name).options()}


def wanted(options, **more):
    """The Wanted of `options`, and `more` of its fields."""
    return Wanted(
        min_tokens=options.min_tokens or 0,
        valid_documents=options.valid_documents,
        test_documents=options.test_documents,
        max_documents=options.max_documents,
        max_tokens=options.max_tokens,
        threshold=options.threshold,
        nwords=options.nwords,
        **more,
    )


def kept(options):
    """Options as the manifest has them: those that decide what is in the data-bin."""
    left_out = {"dest", "cache", "workers", "tokenizer", *tokenizer_options()}
    return {
        key: value
        for key, value in vars(options).items()
        if key not in left_out and value is not None and value is not False and value != []
    }


def all_sources(options):
    """[Source] of the splits, in the order in which they are read.

    Raises ValueError, before anything is fetched, for what is not there, a file that is of two
    splits, and a --dest that cannot be.
    """
    given = {"train": options.sources, "valid": options.valid, "test": options.test}
    work = Path(f"{options.dest}.work").resolve()
    if Path(options.dest).exists():
        raise ValueError(f"{options.dest} is there already: name another --dest, or move it away")
    for name in (name for named in given.values() for name in named):
        if name.startswith(sources.URL):
            continue
        if work.is_relative_to(Path(name).resolve()):
            raise ValueError(f"--dest {options.dest} lies in the source {name}: name another place")
        sources.files([name], options.cache)
    found, splits, names = [], {}, Counter()
    for split, named in given.items():
        for name in named:
            for path in sources.files([name], options.cache):
                other = splits.setdefault(path.resolve(), split)
                if other != split:
                    raise ValueError(f"{path} would be in {other} and in {split}")
                drawn_by = str(path.relative_to(name) if Path(name).is_dir() else path.name)
                drawn_by = drawn_by.removesuffix(".zst").removesuffix(".gz")
                names[drawn_by] += 1
                if names[drawn_by] > 1:
                    drawn_by = f"{drawn_by} {names[drawn_by]}"
                origin = name if name.startswith(sources.URL) else str(path)
                found.append(Source(path, split, drawn_by, origin))
    check_once(source.path for source in found)
    return found


def check_once(paths):
    """Raises ValueError for a file that is there twice."""
    for path, times in Counter(path.absolute() for path in paths).items():
        if times > 1:
            raise ValueError(f"{path} is named twice")


def printed(made, folder):
    """A manifest for people: a line a split."""
    lines = [f"{folder}:"]
    for split, counts in made["splits"].items():
        said = ", ".join(f"{counts[name]:,} {name}" for name in ("documents", "tokens", "words"))
        lines.append(f"  {split}: {said}, {counts['bytes']:,} bytes of text")
    for source in made.get("sources", []):
        left_out = source.get("counts", {}).get("invalid")
        if left_out:
            lines.append(
                f"  {source.get('from', source['name'])}: {left_out:,} lines were no documents"
            )
    return "\n".join(lines)


def run(command, work, quiet=False):
    """The exit status of `work`, whose ValueErrors and OSErrors are told in a sentence.

    quiet: without what building a model logs.
    """
    before = logging.root.manager.disable
    try:
        if quiet:
            logging.disable(logging.INFO)
        work()
        sys.stdout.flush()
    except BrokenPipeError:  # who reads has seen enough, as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except (ValueError, OSError) as error:
        print(f"{command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{command}: stopped; run it again to go on", file=sys.stderr)
        return 130
    finally:
        logging.disable(before)
    return 0
