"""What is read from the text that a model has completed, source included.

As of McGill-NLP/length-generalization@40f8a44, src/data/data_instance_processor. What it answers
with a mark, or an exception that counts as wrong, is None here.
"""

import re

from nopos_plugin.data.reasoning.digits import integer
from nopos_plugin.data.reasoning.scratchpad import END

SEPARATOR = "[SEP] "
# The last place where each can be read: an answer that stops short does not hide one before it.
NUMBER = re.compile(r".*The answer is\s+(-?\s?(?!\s)[0-9.\s]+)\.", re.DOTALL)
PHRASE = re.compile(r".*The answer is(.+)\.", re.DOTALL)
ITEMS = re.compile(r".*The sorted list is\s*\[(.*)\]", re.DOTALL)


def after_separator(text: str) -> str | None:
    """What is between the first separator and the second, or the end."""
    parts = text.split(SEPARATOR)
    return parts[1].strip() if len(parts) > 1 else None


def conclusion(text: str) -> str:
    """What is after the first end of a scratchpad, before a second one; all, without any."""
    parts = text.split(END)
    return parts[1] if len(parts) > 1 else text


def number(text: str) -> int | None:
    """Of the last `The answer is 5 3 7.`; what has a full stop inside is none."""
    found = NUMBER.match(conclusion(text))
    return integer(found[1]) if found else None


def phrase(text: str) -> str | None:
    """Of the last `The answer is ...`: all up to the last full stop."""
    found = PHRASE.match(conclusion(text))
    return found[1].strip() or None if found else None


def items(text: str) -> list[str] | None:
    """Of the last `The sorted list is [ a, b ]`: all up to the last bracket, cut at commas."""
    found = ITEMS.match(conclusion(text))
    return [item.strip() for item in found[1].split(",")] if found else None
