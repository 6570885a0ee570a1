"""Documents in lines of JSON, as the Pile has them: {"text", "meta": {"pile_set_name"}}."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from nopos_plugin.prepare.lines import after_lines

PILE = (
    "ArXiv",
    "BookCorpus2",
    "Books3",
    "DM Mathematics",
    "Enron Emails",
    "EuroParl",
    "FreeLaw",
    "Github",
    "Gutenberg (PG-19)",
    "HackerNews",
    "NIH ExPorter",
    "OpenSubtitles",
    "OpenWebText2",
    "PhilPapers",
    "Pile-CC",
    "PubMed Abstracts",
    "PubMed Central",
    "StackExchange",
    "USPTO Backgrounds",
    "Ubuntu IRC",
    "Wikipedia (en)",
    "YoutubeSubtitles",
)


class Document(NamedTuple):
    text: str
    component: str  # "" where the line names none
    line: int  # of the block, where it begins, from 0


@dataclass(frozen=True)
class JsonLines:
    """Documents that are a line of JSON each."""

    def ends(self, data):
        """Where the last whole document of a block (bytes) ends."""
        return after_lines(data)

    def too_long(self, data):
        """A line of too many bytes, of which `data` are the first, is invalid."""
        return b"\0"

    def parse(self, block, counts: Counter):
        """The Documents of a block (bytes).

        What is no document is counted: "invalid" (no JSON, no text, no UTF-8, or of more than
        lines.LONGEST bytes), or "empty".
        """
        for number, line in enumerate(block.split(b"\n")):
            if not line.strip():
                continue
            counts["lines"] += 1
            document = parsed(line, number)
            if document is None:
                counts["invalid"] += 1
            elif not document.text.strip():
                counts["empty"] += 1
            else:
                yield document


def parsed(line, number):
    """The Document of the line, or None."""
    try:
        fields = json.loads(line)
        text, meta = fields["text"], fields.get("meta")
        text.encode()  # which half a surrogate pair cannot be
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    component = meta.get("pile_set_name") if isinstance(meta, dict) else None
    return Document(text, component if isinstance(component, str) else "", number)


def check_components(names):
    """Raises ValueError, and lists them all, unless each is one of the Pile's."""
    for name in names:
        if name not in PILE:
            raise ValueError(f"{name!r} is no component of the Pile; these are: {', '.join(PILE)}")
