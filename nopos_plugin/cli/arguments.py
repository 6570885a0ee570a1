"""Types of arguments: text -> value, or the sentence that argparse shows."""

import argparse
import math

import torch


def count(text):
    """A whole number, at least 1."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def counts(text):
    """Different ones, joined by commas."""
    return _different([count(one) for one in text.split(",")])


def span(text):
    """BEGIN:END, whole numbers, as Python counts: BEGIN is in it, END is not."""
    begin, colon, end = text.partition(":")
    if not (colon and all(one.isascii() and one.isdigit() for one in (begin, end))):
        raise argparse.ArgumentTypeError(f"{text!r} is no BEGIN:END such as 4096:24096")
    if int(begin) >= int(end):
        raise argparse.ArgumentTypeError(f"{text!r} holds nothing: BEGIN is below END")
    return int(begin), int(end)


def names(known):
    """A type: different ones of `known`, joined by commas, or `all`."""

    def parse(text):
        return _different(
            list(known) if text == "all" else list(map(name(*known), text.split(",")))
        )

    return parse


def name(*known):
    """A type: one of `known`."""

    def parse(text):
        if text not in known:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(known)}")
        return text

    return parse


def minutes(text):
    """A finite number, 0 or more."""
    return _number(text, lambda number: 0 <= number < math.inf, "finite number, 0 or more")


def share(text):
    """A number above 0, up to 1."""
    return _number(text, lambda number: 0 < number <= 1, "number above 0, up to 1")


def part(text):
    """A number from 0 to 1."""
    return _number(text, lambda number: 0 <= number <= 1, "number from 0 to 1")


def fraction(text):
    """A number from 0 on, below 0.5."""
    return _number(text, lambda number: 0 <= number < 0.5, "number from 0 on, below 0.5")


def positive(text):
    """A finite number above 0."""
    return _number(text, lambda number: 0 < number < math.inf, "finite number above 0")


def amount(text):
    """A whole number, 0 or more, or a share below 1."""
    number = _number(text, lambda n: 0 <= n < math.inf, "number, 0 or more")
    if number >= 1 and number != int(number):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number nor a share below 1")
    return int(number) if number == int(number) else number


def device(text):
    """cpu or cuda, if there is one."""
    if name("cpu", "cuda")(text) == "cuda" and not torch.cuda.is_available():
        raise argparse.ArgumentTypeError("torch finds no CUDA device here; leave it out, or cpu")
    return text


def _number(text, fits, what):
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not fits(number):
        raise argparse.ArgumentTypeError(f"{text!r} is no {what}")
    return number


def _different(values):
    for value in values:
        if values.count(value) > 1:
            raise argparse.ArgumentTypeError(f"{value} is there twice")
    return tuple(values)
