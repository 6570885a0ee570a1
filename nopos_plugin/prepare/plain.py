"""Documents in plain text: files, lines, what blank lines part, or WikiText's articles."""

import codecs
import re
from collections import Counter
from dataclasses import dataclass

from nopos_plugin.prepare.documents import Document
from nopos_plugin.prepare.lines import after_lines, too_long

BLANK = " \t\n"
# What each kind of document ends with.
ENDS = {
    "lines": r"\n",
    "blank-lines": r"\n(?:[ \t]*\n)+",
    "articles": r"\n ?(?=\n = (?!= ).*(?<! =) = \n ?\n)",  # before ` = Title = `, blank around it
    "file": r"(?!)",
}


@dataclass(frozen=True)
class PlainText:
    """Documents of a kind, one of ENDS; the ends of lines become newlines.

    encoding: any in which a newline is the byte 0x0A. Raises ValueError for others, and, when
    parsing, for bytes that are not of it.
    """

    kind: str
    encoding: str = "utf-8"

    def __post_init__(self):
        try:
            usable = b"\n".decode(self.encoding) == "\n"
        except UnicodeError:
            usable = False
        except (LookupError, ValueError) as error:
            raise ValueError(f"--encoding: {error}") from error
        if not usable:
            raise ValueError(
                f"--encoding {self.encoding}: a newline is not the byte 0x0A in it; convert the "
                f"files first, as by iconv -f {self.encoding} -t utf-8"
            )

    def ends(self, data):
        """Where the last whole document of a block (bytes) ends."""
        if self.kind == "lines":
            return after_lines(data)
        found = re.finditer(ENDS[self.kind].replace(r"\n", r"\r?\n").encode(), data)
        # what looks whole at the end of a block may go on after it
        ends = (match.end() for match in found if match.end() < len(data) - 4)
        return max(ends, default=0)

    too_long = staticmethod(too_long)

    def parse(self, block, counts: Counter):
        """The Documents of a block (bytes); how many are empty is counted."""
        text = decoded(block, self.encoding).replace("\r\n", "\n")
        start = line = 0
        for stop in [*(match.end() for match in re.finditer(ENDS[self.kind], text)), len(text)]:
            part, start = text[start:stop], stop
            counts["lines"] += bool(part)
            if part.strip():
                yield Document(without_blank_lines(part), "", line)
            else:
                counts["empty"] += bool(part)
            line += part.count("\n")


def without_blank_lines(text):
    """`text` without those that it begins and ends with, and the end of its last line."""
    begin, end = len(text) - len(text.lstrip(BLANK)), len(text.rstrip(BLANK))
    stop = text.find("\n", end)
    return text[text.rfind("\n", 0, begin) + 1 : len(text) if stop < 0 else stop]


def decoded(block, encoding):
    if codecs.lookup(encoding).name == "utf-8-sig":
        encoding = "utf-8"  # for the mark is at the begin of a file, not of each block
    try:
        return block.decode(encoding)
    except UnicodeDecodeError as error:
        around = block[max(0, error.start - 20) : error.end + 20]
        raise ValueError(
            f"{around!r} is no {encoding}: name the --encoding of the text, such as latin-1"
        ) from error
