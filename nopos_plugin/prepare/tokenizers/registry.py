"""Names of the tokenizers, and their options on a command line."""

import argparse
import dataclasses

from nopos_plugin.discover import Registry

TOKENIZERS = Registry("tokenizer", "--tokenizer")
register, names, get = TOKENIZERS.register, TOKENIZERS.names, TOKENIZERS.get


def build(name, **options):
    """The tokenizer `name`. Options that are None or False count as not given.

    Raises ValueError for one that this tokenizer does not have.
    """
    known = get(name).options()
    given = {key: value for key, value in options.items() if value not in (None, False)}
    for key, value in given.items():
        if key not in known:
            its = ", ".join(map(flag, known)) or "none"
            typed = flag(key) if value is True else f"{flag(key)} {value}"
            raise ValueError(f"{typed}: not for --tokenizer {name}, whose options are: {its}")
    return get(name)(**given)


def add_options(parser, required=True, help="how text is cut"):
    """--tokenizer and the options of all tokenizers; a field x_y is --x-y, and not required."""
    parser.add_argument("--tokenizer", required=required, choices=names(), help=help)
    fields = {f.name: f for name in names() for f in dataclasses.fields(get(name))}
    for name, field in fields.items():
        switch = {"action": argparse.BooleanOptionalAction}
        kind = switch if field.default is False else {"metavar": "X"}
        parser.add_argument(flag(name), help=field.metadata["help"], **kind)


def flag(name):
    return "--" + name.replace("_", "-")
