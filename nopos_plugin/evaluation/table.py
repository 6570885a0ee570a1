"""Results for people: a line each."""

import math

from nopos_plugin.evaluation.passkey import DEPTHS


def at_depth(place):
    """A column: how many keys at the depths of a range were found."""

    def text(row):
        found = [one for one in row["by_depth"] if one["from"] == place / DEPTHS]
        return f"{found[0]['correct']} of {found[0]['trials']}" if found else "-"

    return text


# title, width, what of a result
PERPLEXITIES = (
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
PASSKEYS = (
    *PERPLEXITIES[:2],
    ("length", 7, lambda row: f"{row['length_tokens']}"),
    ("prompt", 7, lambda row: f"{row['prompt_tokens']['most']}"),
    ("right", 9, lambda row: f"{row['correct']} of {row['trials']}"),
    *(
        (f"at {100 * place // DEPTHS}-{100 * (place + 1) // DEPTHS} %", 11, at_depth(place))
        for place in range(DEPTHS)
    ),
    ("seconds", 8, lambda row: f"{row['seconds']:.1f}"),
)


def heading(columns):
    return "  ".join(pad(title, width) for title, width, _ in columns)


def line(row, columns):
    """A result as a line of the table."""
    return "  ".join(pad(text(row), width) for _, width, text in columns)


def pad(text, width):
    return text.ljust(-width) if width < 0 else text.rjust(width)


def number(value):
    """With four decimals, or five digits if it is large."""
    if value is None:
        return "-"
    return f"{value:.4f}" if value < 1000 or math.isinf(value) else f"{value:.5g}"
