"""Names of the tokenizers, and their options on a command line."""

import argparse
import dataclasses

_TOKENIZERS: dict[str, type] = {}


def register(name):
    """Class decorator: make a `Tokenizer` known as `--tokenizer name`."""

    def add(tokenizer):
        if name in _TOKENIZERS:
            raise ValueError(f"tokenizer {name!r} is registered twice")
        tokenizer.name = name
        _TOKENIZERS[name] = tokenizer
        return tokenizer

    return add


def names():
    return sorted(_TOKENIZERS)


def get(name):
    """The class registered as `name`; ValueError lists the known names."""
    if name not in _TOKENIZERS:
        raise ValueError(f"--tokenizer {name}: unknown; known are {', '.join(names())}")
    return _TOKENIZERS[name]


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
