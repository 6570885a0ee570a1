"""One result: what fairseq-eval-lm printed, as a line of JSON that says what it is.

    python record.py LOG DATA RESULT encoding=rope length_tokens=512 ...    reads LOG, writes RESULT
    python record.py RESULT                                                 prints RESULT for people

Every token of the validation text has to be scored, whatever the length; a token is a byte. LOG
names the loss with four decimals, in bits: nats and perplexity are as exact as that.
"""

import hashlib
import json
import math
import re
import sys
from importlib.metadata import version
from pathlib import Path

INTEGERS = {"length_tokens", "trained_length_tokens", "seconds"}


def read_log(log):
    """(tokens scored, bits per token, options of the encoding) of the text `log`.

    ValueError unless each is there, once, and every score was counted.
    """

    def only(pattern, what):
        found = re.findall(pattern, log)
        if len(found) != 1:
            raise ValueError(f"{what} is there {len(found)} times instead of once")
        return found[0]

    if "inf scores" in log:
        raise ValueError("fairseq left out tokens of infinite loss")
    num_tokens = only(r"Evaluated ([\d,]+) tokens in ", "'Evaluated N tokens'")
    bits = only(r"Loss \(base 2\): (\S+), Perplexity", "'Loss (base 2)'")
    options = only(r"position encoding: \w+ \((.*)\), [\d,]+ parameters", "'position encoding'")
    options = "" if options == "no options" else options
    return int(num_tokens.replace(",", "")), float(bits), options


def result(log, data, settings):
    """Everything that is known of one evaluation: {field: value}, units in the names."""
    num_tokens, bits, position_args = read_log(log)
    valid_bytes = (data / "valid.txt").stat().st_size
    if num_tokens != valid_bytes:
        raise ValueError(f"{num_tokens:,} tokens were scored, the text has {valid_bytes:,}")
    if not math.isfinite(bits):
        raise ValueError(f"the loss is {bits}")
    return {
        **settings,
        "position_args": position_args,
        "text": (data / "source.txt").read_text(encoding="utf-8").strip(),
        "split": "valid",
        "tokens_scored": num_tokens,
        "bytes_scored": valid_bytes,
        "loss_bits_per_token": bits,
        "nats": bits * math.log(2) * num_tokens,
        "bits_per_byte": bits * num_tokens / valid_bytes,
        "perplexity_per_token": 2**bits,
        "bigram_bits_per_byte": json.loads((data / "bigram.json").read_text())["mark"],
        "checkpoint_sha256": hashlib.sha256(Path(settings["checkpoint"]).read_bytes()).hexdigest(),
        "versions": {name: version(name) for name in ("fairseq-fixed", "torch")},
    }


def main(log, data=None, target=None, *settings):
    if data is None:
        found = json.loads(Path(log).read_text())
        print(f"{found['bits_per_byte']:.3f} bits per byte at {found['length_tokens']} bytes")
        return
    settings = dict(setting.split("=", 1) for setting in settings)
    settings = {key: int(v) if key in INTEGERS else v for key, v in settings.items()}
    try:
        found = result(Path(log).read_text(), Path(data), settings)
    except ValueError as error:
        sys.exit(f"record.py: {log}: {error}")
    Path(target).write_text(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
