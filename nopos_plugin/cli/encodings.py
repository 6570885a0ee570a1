"""nopos-encodings: the position encodings, their options and the architectures."""

import argparse
import dataclasses
import typing

from nopos_plugin import positions
from nopos_plugin.models import architectures
from nopos_plugin.positions.options import format_config


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="nopos-encodings",
        description="List position encodings, their options and their architectures.",
    )
    parser.add_argument("encoding", nargs="*", help="list these only (default: all of them)")
    chosen = parser.parse_args(arguments).encoding or positions.names()
    try:
        print("\n".join(map(describe, map(positions.get, chosen))))
    except ValueError as error:
        parser.error(str(error).removeprefix("--position-encoding "))
    print(
        "options: --position-encoding NAME --position-args option=value,option=value "
        "(a list is joined by |)"
    )
    print(f"architectures: transformer_lm_NAME and {', '.join(_sizes())}")


def describe(encoding):
    """What a user may want to know of one encoding, a few lines."""
    lines = [f"{encoding.name}: {encoding.__doc__.strip().splitlines()[0]}"]
    config = encoding.Config()
    types = typing.get_type_hints(encoding.Config)
    for field in dataclasses.fields(config):
        choices = field.metadata["choices"]
        kind = "|".join(choices) if choices else _kind(types[field.name])
        default = format_config(dataclasses.make_dataclass("One", [field.name])(field.default))
        lines.append(f"    {default}  ({kind}) {field.metadata['help']}")
    return "\n".join(lines) + "\n"


def _kind(type_):
    listed = {tuple[str, ...]: "symbols", tuple[float, ...]: "numbers"}
    return listed[type_] if type_ in listed else type_.__name__


def _sizes():
    return [f"transformer_lm_NAME{size}" for size in architectures.SIZES if size]


if __name__ == "__main__":
    main()
