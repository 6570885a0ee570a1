"""What was claimed, beside what was seen."""

from typing import NamedTuple

from nopos_plugin.evaluation.markdown import table


class Claim(NamedTuple):
    """verdict: yes, no or unclear, of a Difference; numbers: by which."""

    what: str
    who: str
    published: str
    verdict: str
    numbers: str


def side_by_side(claims):
    """A table in Markdown."""
    return table([["claim", "of", "published", "seen here", "by"], *claims])
