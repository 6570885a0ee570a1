"""Words and bytes of a split, so that numbers of different tokenizers can be compared."""

import json
import math
from pathlib import Path

KINDS = ("words", "bytes")


def from_manifest(folder, split, tokens):
    """{"words", "bytes"} that the manifest.json of a data-bin says `split` has, or None.

    Raises ValueError if it speaks of another number of tokens.
    """
    path = Path(folder, "manifest.json")
    if not path.exists():
        return None
    try:
        counts = json.loads(path.read_text("utf-8")).get("splits", {}).get(split)
        found = counts and {name: counts.get(name) for name in ("tokens", *KINDS)}
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{path}: not a manifest ({error}); repair or remove it") from error
    if not found:
        return None
    if found["tokens"] not in (None, tokens):
        raise ValueError(
            f"{path} says that {split} has {found['tokens']:,} tokens, and it has {tokens:,}"
        )
    return {name: found[name] for name in KINDS}


def from_tokens(kind, symbols, counts, lines):
    """The same for a text whose tokens are all `kind`: words, or bytes.

    symbols: of the dictionary. counts: of each in the text. lines: those that are not blank. Words
    stand one space apart, `</s>` is the end of a line and no word. Where words are unknown, the
    number of bytes is, too: None.
    """
    tokens, number = sum(counts), dict(zip(symbols, counts, strict=True))
    if kind == "bytes":
        return {"words": None, "bytes": tokens}
    ends, unknown = number.pop("</s>", 0), number.pop("<unk>", 0)
    # a space after every word but the last of a line, and the end of the line
    length = sum((len(word.encode()) + 1) * n for word, n in number.items()) + ends - lines
    return {"words": tokens - ends, "bytes": None if unknown else length}


def per_unit(nats, words, bytes):
    """The fields of a result for words and bytes, as far as they are known."""
    return {
        "words": words,
        "perplexity_per_word": math.exp(nats / words) if words and nats / words < 709 else None,
        "bytes": bytes,
        "bits_per_byte": nats / bytes / math.log(2) if bytes else None,
    }


def known(counts, row):
    """Words and bytes, those of a result where `counts` has none."""
    return {name: counts[name] if counts[name] else row.get(name) for name in KINDS}
