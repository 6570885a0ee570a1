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


def option(default, help, choices=None, of=None):
    """A field of an encoding's Config; `help` names the unit, `choices` bounds a word.

    of: the option that it belongs to. It is written where it is not the default, and forgotten when
    that option is given anew.
    """
    metadata = {"help": help, "choices": choices, "of": of}
    return dataclasses.field(default=default, metadata=metadata)


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


def changed(encoding, trained, given):
    """{option: text}, as of `parse`: `given` over what the class `encoding` was `trained` with."""
    kept = {key: value for key, value in trained.items() if owner(encoding, key) not in given}
    return {**kept, **given}


def owner(encoding, key):
    """The option of the class `encoding` that the option `key` belongs to, or None."""
    fields = {field.name: field for field in dataclasses.fields(encoding.Config)}
    return fields[key].metadata["of"] if key in fields else None


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


def format_config(config, all_options=False):
    """A Config as text that `parse` reads back: what a checkpoint remembers.

    all_options: also those that belong to another one and are the default.
    """
    values = {field: getattr(config, field.name) for field in dataclasses.fields(config)}
    return ",".join(
        f"{field.name}={_write(value)}"
        for field, value in values.items()
        if all_options or not field.metadata.get("of") or value != field.default
    )


def _read(encoding, field, type_, text):
    if type_ in (tuple[str, ...], tuple[float, ...]):
        items = (item for item in text.split("|") if item)
        return tuple(_of_type(encoding, field.name, item, type_.__args__[0]) for item in items)
    value, choices = _of_type(encoding, field.name, text, type_), field.metadata["choices"]
    if choices and value not in choices:
        raise ValueError(
            f"--position-args {field.name}={text}: {encoding} knows {', '.join(choices)}"
        )
    return value


def _of_type(encoding, name, text, type_):
    """`text` as a value of `type_`, escapes read."""
    if type_ is str:
        return _unescape(text)
    try:
        return {"true": True, "false": False}[text.lower()] if type_ is bool else type_(text)
    except (KeyError, ValueError):
        kind = "true or false" if type_ is bool else f"of type {type_.__name__}"
        sentence = f"--position-args {name}={text}: {encoding} wants a value {kind}"
        raise ValueError(sentence) from None


def _write(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "|".join(map(_write, value))
    return _escape(value) if isinstance(value, str) else repr(value)


def _escape(text):
    return _ESCAPED.sub(lambda found: _code(ord(found[0])), text)


def _code(point):
    return f"\\x{point:02x}" if point < 256 else f"\\u{point:04x}"


def _unescape(text):
    return _ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16)), text)
