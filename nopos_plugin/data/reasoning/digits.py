"""Numbers as their digits, each a token."""

import re


def spaced(number: int) -> str:
    """-24 as `- 2 4`."""
    return ("- " if number < 0 else "") + " ".join(str(abs(number)))


def integer(text: str) -> int | None:
    """The number that `text` is, blanks anywhere and zeros before it or not; None if it is none,
    or one of more digits than Python reads."""
    digits = "".join(text.split())
    return int(digits) if re.fullmatch("-?[0-9]{1,4300}", digits) else None
