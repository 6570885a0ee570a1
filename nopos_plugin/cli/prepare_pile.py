"""nopos-prepare-pile: documents of the Pile, chosen, shuffled and tokenized into a data-bin."""

import argparse
import sys

from nopos_plugin.cli import arguments, preparing
from nopos_plugin.prepare.batch import Recipe
from nopos_plugin.prepare.build import build
from nopos_plugin.prepare.documents import PILE, JsonLines, check_components
from nopos_plugin.prepare.presets import ALL, PRESETS, REMOVED, UNCOPYRIGHTED
from nopos_plugin.prepare.tokenizers import add_options as add_tokenizers

COMMAND = "nopos-prepare-pile"
CHOICES = ("weights", "include", "exclude")  # of components: one at most


def parser():
    made = argparse.ArgumentParser(
        prog=COMMAND,
        description="Make a data-bin of documents in lines of JSON, as the Pile has them (text and "
        "meta.pile_set_name; plain, .gz or .zst). Documents stay whole, newlines and all, a </s> "
        "after each, in an order that the seed alone decides. Stopped or killed, the same command "
        "goes on; the data-bin is there when it is whole. Needs free space for it twice.",
    )
    add = made.add_argument
    add(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="files, folders, patterns or URLs (default: the uncopyrighted Pile's 30 shards, which "
        f"have no {', '.join(REMOVED)})",
    )
    add("--preset", choices=PRESETS, help="what a paper took; other options change it")
    add("--include", type=components, metavar="NAME,..", help="these components only")
    add("--exclude", type=components, metavar="NAME,..", help="all components but these")
    add(
        "--trim",
        type=arguments.fraction,
        default=0.0,
        metavar="X",
        help="leave out that share of each component's documents, the shortest, and as many of the "
        "longest (default: 0)",
    )
    add(
        "--weights",
        type=weights,
        metavar="NAME=X,..",
        help="shares of the tokens, of these components only: the largest such mixture that "
        "repeats nothing, or of --max-tokens",
    )
    add("--seed", type=int, default=1, help="of the order and of what is drawn (default: 1)")
    preparing.add_options(made)
    add_tokenizers(made)
    return made


def components(text):
    names = [name.strip() for name in text.split(",")]
    try:
        check_components(names)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return names


def weights(text):
    found = {}
    for part in text.split(","):
        name, _, number = part.rpartition("=")
        (name,) = components(name)
        if name in found:
            raise argparse.ArgumentTypeError(f"{name} has two weights")
        found[name] = arguments.positive(number)
    return found


def parsed(typed):
    """Options, those of the preset where nothing else was typed."""
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--preset", choices=PRESETS)
    preset = PRESETS.get(first.parse_known_args(typed)[0].preset, {})
    made = parser()
    for action in made._actions:
        action.required &= action.dest not in preset
    made.set_defaults(**preset)
    options = made.parse_intermixed_args(typed)
    if not options.sources:
        options.sources = preset.get("sources", ALL)
    for split in ("valid", "test"):  # given ones, or drawn ones
        given, drawn = split, f"{split}_documents"
        for name, other in ((given, drawn), (drawn, given)):
            if other in preset and getattr(options, name) != made.get_default(name):
                setattr(options, other, parser().get_default(other))
    typed = [name for name in CHOICES if getattr(options, name) != preset.get(name)]
    if len(typed) > 1:
        made.error(f"--{typed[0]} and --{typed[1]}: name one of them")
    for name in CHOICES if typed else ():
        if name != typed[0]:
            setattr(options, name, None)
    return options


def main(typed=None):
    """The exit status: 0 if the data-bin is there, else 1. (argparse exits with 2.)"""
    options = parsed(typed)
    return preparing.run(COMMAND, lambda: prepare(options))


def prepare(options):
    names = (*PILE, "")
    taken = set(options.weights or options.include or set(names) - set(options.exclude or ()))
    ours = all(name.startswith(UNCOPYRIGHTED) for name in options.sources)
    removed = sorted(taken & set(REMOVED)) if ours else []
    if removed and (options.weights or options.include):
        raise ValueError(
            f"the uncopyrighted Pile has no {', '.join(removed)}: name shards of the Pile itself"
        )
    recipe = Recipe(
        JsonLines(), preparing.tokenizer(options), None, names, frozenset(taken), options.seed
    )
    wanted = preparing.wanted(
        options,
        trim=options.trim,
        weights=options.weights and {names.index(n): x for n, x in options.weights.items()},
    )
    if removed:
        print(f"{COMMAND}: the uncopyrighted Pile has no {', '.join(removed)}", file=sys.stderr)
    made = build(
        options.dest,
        preparing.all_sources(options),
        recipe,
        wanted,
        made_by=COMMAND,
        options=preparing.kept(options),
        num_workers=options.workers,
        max_invalid=options.max_invalid,
        required=sorted(options.weights or options.include or ()),
    )
    print(preparing.printed(made, options.dest))
    print("".join(mixed(options.weights, made["splits"]["train"])), end="")


def mixed(weights, train):
    """A line a component of a mixture: the share of tokens that was wanted, and what came out."""
    for name, weight in (weights or {}).items():
        wanted, found = weight / sum(weights.values()), train["components"].get(name)
        share = found["tokens"] / train["tokens"] if found else 0
        yield f"  {name}: {share:.1%} of the tokens (wanted: {wanted:.1%})\n"


if __name__ == "__main__":
    sys.exit(main())
