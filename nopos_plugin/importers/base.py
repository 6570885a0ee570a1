"""What every importer makes of its source, and the names of our tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Source:
    """What is to be imported, and what was said of it.

    path: a file or a folder.
    config: the options of the training in a file, where the format has none in it; or None.
    dictionary: dict.txt of a checkpoint of fairseq's; or None: beside it, or in its data-bin.
    encoding: what a checkpoint has that does not say it; or None.
    position_args: options of the encoding, {option: text}, over what the source says.
    trusted: pickles may run code.
    """

    path: Path
    config: Path | None = None
    dictionary: Path | None = None
    encoding: str | None = None
    position_args: Mapping[str, str] = field(default_factory=dict)
    trusted: bool = False


@dataclass
class Imported:
    """A source as a model of this plugin.

    kind: what the source was recognised as, for people.
    encoding, position_args: --position-encoding and its options, as text by name.
    options: of the model, by name; what is not named is the default.
    tensors: by our names; rows of embeddings are in the order of the source's ids.
    length: tokens that it was trained on.
    special: the source's id of each of bos, eos and pad that it names.
    separators: the source's ids that end a segment, for BiPE.
    symbols: those of the source's dictionary, if its ids are fairseq's indices; or None.
    dropped: {name: why} of the source's tensors.
    """

    kind: str
    encoding: str
    position_args: dict[str, str]
    options: dict[str, Any]
    tensors: dict[str, Tensor]
    length: int
    special: dict[str, int] = field(default_factory=dict)
    separators: tuple[int, ...] = ()
    symbols: list[str] | None = None
    dropped: dict[str, str] = field(default_factory=dict)


EMBEDDING = "decoder.embed_tokens.weight"
OUTPUT = "decoder.output_projection.weight"
# Names within decoder.layers.N, of which each has a weight and perhaps a bias.
Q, K, V, OUT = (f"self_attn.{name}_proj" for name in ("q", "k", "v", "out"))
ATTENTION_NORM, FEED_FORWARD_NORM = "self_attn_layer_norm", "final_layer_norm"
FC1, FC2 = "fc1", "fc2"
FINAL_NORM = "decoder.layer_norm"


def layer(number, name):
    return f"decoder.layers.{number}.{name}"


# What all sources but fairseq's have in common.
PRE_NORM = {"decoder_normalize_before": True, "no_scale_embedding": True, "dropout": 0.0}


def widths(embed_dim):
    """Options of a model whose tokens have as many channels everywhere."""
    names = ("decoder_embed_dim", "decoder_input_dim", "decoder_output_dim")
    return dict.fromkeys(names, embed_dim)


class Config:
    """The configuration of a source, of which each value is asked for by name."""

    def __init__(self, values, source):
        self.values, self.source = values, str(source)

    def __contains__(self, name):
        return self.values.get(name) is not None

    def number(self, name, default=None, kind=int):
        """A positive number; `default` where there is none, and without one a ValueError."""
        value = self.values.get(name)
        if value is None:
            value = default
        known = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not known or not value > 0 or kind(value) != value:
            what = "whole number" if kind is int else "number"
            raise ValueError(f"{self.source}: {name} is {value!r}, and should be a positive {what}")
        return kind(value)

    def get(self, name, default=None):
        value = self.values.get(name)
        return default if value is None else value

    def only(self, **expected):
        """Raise ValueError if an option that is there has another value than our models have."""
        for name, value in expected.items():
            found = self.values.get(name)
            known = value if isinstance(value, tuple) else (value,)
            if found is not None and found not in known:
                raise ValueError(
                    f"{self.source}: {name} is {found!r}, of which this plugin has only "
                    + " or ".join(map(repr, known))
                )

    def special(self, **names):
        """{name: id} of the options that say one, as eos="eos_token_id"."""
        found = {}
        for symbol, name in names.items():
            value = self.values.get(name)
            value = value[0] if isinstance(value, list) and value else value
            if isinstance(value, int) and value >= 0:
                found[symbol] = value
        return found


def joined(parts):
    """Matrices one above the other."""
    return torch.cat(list(parts))


def take_output(found, tensors, name, tied):
    """Take the output matrix `name`. Where it is tied, one that is there has to be the embedding.

    Raises ValueError for another one.
    """
    embedding = tensors[EMBEDDING]
    if not tied:
        tensors[OUTPUT] = found.take(name, *embedding.shape)
    elif name in found:
        if not torch.equal(found.take(name, *embedding.shape), embedding):
            raise ValueError(
                f"{found.source}: tied to the embedding by its configuration, {name} is another"
            )
        found.dropped[name] = "the same as the embedding"
