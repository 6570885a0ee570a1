"""Small models, built the way fairseq-train builds them: from flags, through the real parser."""

from types import SimpleNamespace

import torch
from fairseq import models, options
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

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
    """The whole config, as `fairseq-train --arch ARCH FLAGS` makes it; sizes over SIZE, None drops one."""
    typed = ["no-data", "--task", "language_modeling", "--arch", arch, *flags]
    for name, value in {**SIZE, **sizes}.items():
        if value is not None:
            typed += [f"--{name.replace('_', '-')}", str(value)]
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


def tokens(rows, length, seed=0):
    """(rows, length) int64 of ordinary symbols, full stops among them; no pads."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(4, 4 + SYMBOLS, (rows, length), generator=generator)
    stops = torch.rand(rows, length, generator=generator) < 0.15
    return drawn.masked_fill(stops, 4)
