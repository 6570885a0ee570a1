"""What a text of WikiText holds, and whether it is the published one."""

import re

from nopos_plugin.prepare import manifest

TITLE = re.compile(rb" = (?!= ).*(?<! =) = \n")  # of an article; a section has more equals signs


def verified(release, split, path, published):
    """`count` of the text at `path`. Raises ValueError if it is not as `published`, a Text."""
    found, types = count(path)
    expected = published._asdict()
    for what, number in (*found.items(), ("types", types)):
        if expected.get(what) not in (None, number):
            raise ValueError(
                f"{split} of {release} has {what} {shown(number)}, expected "
                f"{shown(expected[what])}, in {path}: not the published text; a text of your own "
                "is for nopos-prepare-text"
            )
    return found


def shown(value):
    return value if isinstance(value, str) else f"{value:,}"


def count(path):
    """({documents, lines, tokens, words, bytes, sha256}, different words) of the text at `path`.

    Lines end at \\n only, words at any white space, as fairseq takes them. A document is an
    article, and its title a line ` = Title = ` between blank ones: WikiText-2 has 600, 60 and 60
    of those, as published, and 31 more that are not between blank ones, within articles.
    """
    documents = lines = words = 0
    types: set[str] = set()
    blank, title = True, False
    with open(path, "rb") as text:
        for lines, line in enumerate(text, 1):
            try:
                found = line.decode().split()
            except UnicodeDecodeError as error:
                raise ValueError(f"{path}, line {lines}: not UTF-8 ({error})") from error
            words += len(found)
            types.update(found)
            documents += title and not found
            title = blank and TITLE.fullmatch(line) is not None
            blank = not found
    counts = {"documents": documents, "lines": lines, "tokens": words + lines, "words": words}
    return {**counts, **manifest.described(path)}, len(types)
