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
PROBES = (
    *PERPLEXITIES[:2],
    ("length", 7, lambda row: f"{row['length_tokens']}"),
    ("random", 8, lambda row: number(row["random_error_tokens"])),
    ("layer 0", 8, lambda row: number(row["layers"][0]["error_tokens"])),
    ("best", 8, lambda row: number(best(row)["error_tokens"])),
    ("at layer", 8, lambda row: f"{best(row)['layer']}"),
    ("accuracy", 8, lambda row: f"{best(row)['accuracy']:.1%}"),
    ("control", 8, lambda row: number(best(row)["control_error_tokens"])),
    ("last", 8, lambda row: number(row["layers"][-1]["error_tokens"])),
    ("seconds", 8, lambda row: f"{row['seconds']:.1f}"),
)
SHUFFLES = (
    *PERPLEXITIES[:2],
    ("length", 7, lambda row: f"{row['length_tokens']}"),
    ("prefix", 7, lambda row: f"{row['by_prefix'][-1]['prefix_tokens']}"),
    ("in order", 9, lambda row: number(bits(row["by_prefix"][-1], "nats"))),
    ("shuffled", 9, lambda row: number(bits(row["by_prefix"][-1], "shuffled_nats"))),
    ("eighth 1", 9, lambda row: number(bits(row["by_eighth"][0], "nats"))),
    ("eighth 8", 9, lambda row: number(bits(row["by_eighth"][-1], "nats"))),
    ("seconds", 8, lambda row: f"{row['seconds']:.1f}"),
)
ANSWERED = (
    *PERPLEXITIES[:2],
    ("task", -12, lambda row: row["problem"]["task"]),
    ("trained on", 10, lambda row: "{}-{}".format(*row["problem"]["train_lengths"])),
    ("right", 8, lambda row: percent(row["accuracy"]["valid"])),
    ("tested on", 10, lambda row: "{}-{}".format(*row["problem"]["test_lengths"])),
    ("right", 8, lambda row: percent(row["accuracy"]["test"])),
    ("tokens", 8, lambda row: percent(row["token_accuracy"]["test"])),
    ("seconds", 8, lambda row: f"{row['seconds']:.1f}"),
)
ATTENDED = (
    *PERPLEXITIES[:2],
    ("task", -12, lambda row: row["problem"]["task"]),
    ("longest", 8, lambda row: f"{row['by_length'][-1]['length']}"),
    ("looks back", 10, lambda row: number(over_layers(row, "most_attended"))),
    ("against", -32, lambda row: (row["against"] or "-")[-32:]),
    ("least", 8, lambda row: number(over_layers(row, "least_distance"))),
    ("matched", 8, lambda row: number(over_layers(row, "matched_distance"))),
    ("seconds", 8, lambda row: f"{row['seconds']:.1f}"),
)


def over_layers(row, name):
    """The mean at the greatest length, None where it was not measured."""
    layers = row["by_length"][-1]["layers"]
    if name not in layers[0]:
        return None
    return sum(one[name] for one in layers) / len(layers)


def percent(share):
    return f"{share:.1%}"


def best(row):
    """The layer whose probe errs least."""
    return min(row["layers"], key=lambda one: one["error_tokens"])


def bits(one, field):
    """A token, of the nats of `one["tokens"]`."""
    return one[field] / one["tokens"] / math.log(2)


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
