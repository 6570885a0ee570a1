r"""The text form of an encoding's options: `k=v,k=v`, lists joined by `|`.

A comma, bar or backslash inside a value is written `\x2c`, `\x7c`, `\x5c`; any `\xHH` and `\uHHHH`
is read.
"""

import dataclasses
import re
import typing

_ESCAPE = re.compile(r"\\x([0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})")
# What has a meaning here, in fairseq's and hydra's grammars of a value, or on a terminal.
_ESCAPED = re.compile(r"[\\,|${}'\"\x00-\x20\x7f]|\s")


def option(default, help, choices=None):
    """A field of an encoding's Config; `help` names the unit, `choices` bounds a word."""
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices})


def parse(text):
    """`k=v,k=v` -> {k: v}, still text; ValueError for an item without `=` or a key twice."""
    arguments = {}
    for item in filter(None, (part.strip() for part in (text or "").split(","))):
        key, equals, value = item.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ValueError(f"--position-args: {item!r} is not of the form option=value")
        if key in arguments:
            raise ValueError(f"--position-args: {key} is given twice")
        arguments[key] = value.strip()
    return arguments


def build_config(encoding, arguments):
    """Typed options of the class `encoding` from {option: text}; ValueError names what is known."""
    types = typing.get_type_hints(encoding.Config)
    fields = {field.name: field for field in dataclasses.fields(encoding.Config)}
    values = {}
    for key, text in arguments.items():
        if key not in fields:
            known = ", ".join(fields) or "none"
            raise ValueError(
                f"--position-args {key}={text}: {encoding.name} has no option {key!r}; "
                f"its options are: {known}"
            )
        values[key] = _read(encoding.name, fields[key], types[key], text)
    return encoding.Config(**values)


def format_config(config):
    """The whole of a Config as text that `parse` reads back: what a checkpoint remembers."""
    values = dataclasses.asdict(config)
    return ",".join(f"{key}={_write(value)}" for key, value in values.items())


def _read(encoding, field, type_, text):
    if type_ == tuple[str, ...]:
        return tuple(_unescape(item) for item in text.split("|") if item)
    choices = field.metadata["choices"]
    try:
        value = {"true": True, "false": False}[text.lower()] if type_ is bool else type_(text)
    except (KeyError, ValueError):
        kind = "true or false" if type_ is bool else f"of type {type_.__name__}"
        sentence = f"--position-args {field.name}={text}: {encoding} wants a value {kind}"
        raise ValueError(sentence) from None
    if choices and value not in choices:
        raise ValueError(
            f"--position-args {field.name}={text}: {encoding} knows {', '.join(choices)}"
        )
    return _unescape(value) if type_ is str else value


def _write(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "|".join(_escape(item) for item in value)
    return _escape(value) if isinstance(value, str) else repr(value)


def _escape(text):
    return _ESCAPED.sub(lambda found: _code(ord(found[0])), text)


def _code(point):
    return f"\\x{point:02x}" if point < 256 else f"\\u{point:04x}"


def _unescape(text):
    return _ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16)), text)
