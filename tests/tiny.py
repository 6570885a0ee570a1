"""Small models, built the way fairseq-train builds them: from flags, through the real parser."""

import functools
import json
from pathlib import Path
from types import SimpleNamespace

import torch
from fairseq import models, options
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

from nopos_plugin import positions
from nopos_plugin.positions.options import parse

SIZE = {
    "decoder_layers": 2,
    "decoder_embed_dim": 48,
    "decoder_input_dim": 48,
    "decoder_output_dim": 48,
    "decoder_ffn_embed_dim": 96,
    "decoder_attention_heads": 4,
    "tokens_per_sample": 64,
    "dropout": 0,
}
SYMBOLS = 60


def dictionary():
    """64 types: four of fairseq's own, a full stop, w1 .. w59."""
    made = Dictionary()
    made.add_symbol(".")
    for number in range(1, SYMBOLS):
        made.add_symbol(f"w{number}")
    return made


def config(arch, *flags, **sizes):
    """The config that `fairseq-train --arch ARCH FLAGS` makes; sizes over SIZE, None drops one."""
    typed = ["no-data", "--task", "language_modeling", "--arch", arch]
    for name, value in {**SIZE, **sizes}.items():
        if value is not None:
            typed += [f"--{name.replace('_', '-')}", str(value)]
    typed += flags
    parser = options.get_training_parser("language_modeling")
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, typed))


def task(cfg, words=None):
    """What a model asks of its task."""
    words = words or dictionary()
    return SimpleNamespace(args=cfg.task, source_dictionary=words, target_dictionary=words)


def model(arch, *flags, seed=1, **sizes):
    """An untrained model in evaluation mode."""
    cfg = config(arch, *flags, **sizes)
    torch.manual_seed(seed)
    return models.build_model(cfg.model, task(cfg)).eval()


@functools.cache
def built(name, *flags, **sizes):
    """The model of an encoding, which no test may change."""
    return model(f"transformer_lm_{name}", *flags, **sizes)


def logits(of_model, *inputs, **more):
    """(B, T, vocabulary), without a gradient."""
    with torch.no_grad():
        return of_model(*inputs, **more)[0]


def tokens(rows, length, seed=0):
    """(rows, length) int64 of ordinary symbols, full stops among them; no pads."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(4, 4 + SYMBOLS, (rows, length), generator=generator)
    stops = torch.rand(rows, length, generator=generator) < 0.15
    return drawn.masked_fill(stops, 4)


def left_padded(tokens, pads):
    """`tokens`, each row moved to the right by its number of `pads` and cut to the same length."""
    moved = torch.full_like(tokens, dictionary().pad())
    for row, count in enumerate(pads):
        moved[row, count:] = tokens[row, : tokens.size(1) - count]
    return moved


def shape(**changes):
    """What an encoding of a small model is told."""
    sizes = {"num_heads": 4, "head_dim": 8, "embed_dim": 32, "num_layers": 2, "max_length": 128}
    return positions.Shape(**{**sizes, "dictionary": dictionary(), **changes})


def encoding(name, arguments="", seed=1, **changes):
    """The encoding `name` with the options `arguments`, for `shape(**changes)`."""
    torch.manual_seed(seed)
    return positions.build(name, parse(arguments), shape(**changes))


def golden(name):
    """Numbers of tests/golden, with the provenance they carry."""
    return json.loads((Path(__file__).parent / "golden" / f"{name}.json").read_text("utf-8"))


def assert_close(actual, expected, tolerance):
    """No element is off by more than `tolerance` times the largest expected one, or 1."""
    assert actual.shape == expected.shape
    error = (actual.double() - expected.double()).abs().max().item()
    assert error <= tolerance * max(1.0, expected.abs().max().item()), error
