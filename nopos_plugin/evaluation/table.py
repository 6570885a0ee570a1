"""Results for people: a line each."""

import math

COLUMNS = (
    # title, width, what of a result
    ("checkpoint", -32, lambda row: row["checkpoint"][-32:]),
    ("encoding", -12, lambda row: row["position_encoding"] or "stock"),
    ("window", 7, lambda row: f"{row['window_tokens']}"),
    ("stride", 7, lambda row: f"{row.get('stride_tokens') or 'last'}"),
    ("tokens", 11, lambda row: f"{row['tokens']:,}"),
    ("bits/token", 10, lambda row: f"{row['bits_per_token']:.4f}"),
    ("ppl/token", 10, lambda row: number(row["perplexity_per_token"])),
    ("ppl/word", 10, lambda row: number(row.get("perplexity_per_word"))),
    ("bits/byte", 9, lambda row: number(row.get("bits_per_byte"))),
    ("seconds", 8, lambda row: f"{row['seconds']:.1f}"),
)


def heading():
    return "  ".join(pad(title, width) for title, width, _ in COLUMNS)


def line(row):
    """A result as a line of the table."""
    return "  ".join(pad(text(row), width) for _, width, text in COLUMNS)


def pad(text, width):
    return text.ljust(-width) if width < 0 else text.rjust(width)


def number(value):
    """With four decimals, or five digits if it is large."""
    if value is None:
        return "-"
    return f"{value:.4f}" if value < 1000 or math.isinf(value) else f"{value:.5g}"
