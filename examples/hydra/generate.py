"""Writes options.yaml and model/: what the model's flags and `--arch` are, for hydra.

hydra does not apply architectures: a yaml says what each sets. Run this after a change of the
table of architectures, the model's options, or the encodings:

    python examples/hydra/generate.py
"""

from argparse import Namespace
from pathlib import Path

import yaml
from fairseq.models import ARCH_CONFIG_REGISTRY
from omegaconf import OmegaConf

from nopos_plugin.models import architectures
from nopos_plugin.models.transformer_lm import PositionLanguageModelConfig

FOLDER = Path(__file__).parent


def options():
    """{option: default} of what is a flag: what has help."""
    structured = OmegaConf.structured(PositionLanguageModelConfig)
    defaults = OmegaConf.to_container(structured, enum_to_str=True)
    fields = PositionLanguageModelConfig.__dataclass_fields__.items()
    return {name: defaults[name] for name, field in fields if "help" in field.metadata}


def preset(arch):
    """{option: value} that `arch` sets otherwise than the defaults are.

    A width that it takes from decoder_embed_dim, as it is, does so here too.
    """
    filled, probe = Namespace(), Namespace(decoder_embed_dim=-1)
    for args in (filled, probe):
        ARCH_CONFIG_REGISTRY[arch](args)
    values = {}
    for name, default in options().items():
        value = getattr(filled, name, default)
        if default is not None:
            value = type(default)(value)  # some are False or 0 where a number or a float is meant
        if name != "decoder_embed_dim" and getattr(probe, name, None) == -1:
            value = "${model.decoder_embed_dim}"
        if value != default:
            values[name] = value
    return values


def files():
    """{path in this folder: text}"""
    made = {"options.yaml": "# @package model\n" + written(options())}
    for arch in architectures.names():
        text = written({"_name": arch, **preset(arch)})
        made[f"model/{arch}.yaml"] = "# @package _group_\n" + text
    return made


def written(values):
    return yaml.safe_dump(values, sort_keys=False, width=1000)


if __name__ == "__main__":
    for old in FOLDER.glob("model/*.yaml"):
        old.unlink()
    for name, text in files().items():
        (FOLDER / name).parent.mkdir(exist_ok=True)
        (FOLDER / name).write_text(text, encoding="utf-8")
