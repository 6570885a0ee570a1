"""A checkpoint of any language model of fairseq's, ready to be evaluated."""

import argparse
import ast
import inspect
import os
from argparse import Namespace

import torch
from fairseq import checkpoint_utils, utils
from fairseq.modules import LearnedPositionalEmbedding

from nopos_plugin.cli import arguments
from nopos_plugin.positions.options import format_config
from nopos_plugin.provenance import digest

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def add_options(parser):
    """Which checkpoints, and how their models are made of them."""
    add = parser.add_argument
    add("--path", required=True, metavar="CKPT,..", help="checkpoints of language models")
    add("--position-args", metavar="K=V,..", help="options of the encoding, over the checkpoint's")
    add(
        "--model-overrides",
        default={},
        type=overrides,
        metavar="{..}",
        help="others of the model, as of fairseq-eval-lm: \"{'attention_window': 512}\"",
    )
    add("--device", type=arguments.device, default=default_device(), metavar="cpu|cuda")
    add(
        "--dtype",
        type=arguments.name(*DTYPES),
        default="float32",
        metavar="|".join(DTYPES),
        help="of the model; what is made of its outputs is float32 or more (default: float32)",
    )
    add("--user-dir", metavar="DIR", help="a fairseq user directory besides this plugin")


def overrides(text):
    """A dictionary, as Python writes it."""
    try:
        made = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        made = None
    if not isinstance(made, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no dictionary such as {{'key': 'value'}}")
    return made


def default_device():
    return "cuda" if torch.cuda.is_available() else "cpu"


def paths(text, option="--path", most=None):
    """Of the checkpoints. Raises ValueError, before any is evaluated, if one is not there, or for
    more than `most`."""
    found = text.split(",")
    if most is not None and len(found) > most:
        raise ValueError(f"{option} {text}: name no more than {most}")
    for path in found:
        if not os.path.exists(path):
            raise ValueError(f"{option} {path}: there is no such file")
    return found


class Checkpoint:
    """The model in the file at `path`, made as `options`, those of `add_options`, say.

    data: the data-bin with its dictionary; None: that which it was trained on.

    Raises ValueError if it is no language model, or does not fit the dictionary.
    """

    def __init__(self, path, data, options):
        if options.user_dir is not None:
            utils.import_user_module(Namespace(user_dir=options.user_dir))
        self.path, self.dtype, self.sha256 = path, options.dtype, digest(path)
        self.overrides = dict(options.model_overrides)
        if options.position_args is not None:
            self.overrides["position_args"] = options.position_args
        models, self.config, self.task = load(path, data, self.overrides)
        refuse_without_effect(self.overrides, self.config, path)
        self.model = models[0].to(device=options.device, dtype=DTYPES[options.dtype]).eval()
        decoder = getattr(self.model, "decoder", None)
        knows = inspect.signature(decoder.forward).parameters if decoder is not None else ()
        if "features_only" not in knows or not hasattr(self.task, "source_dictionary"):
            raise ValueError(f"{path} is no transformer language model")

    def described(self):
        """What a result says of it."""
        model = self.config.model
        encoding = getattr(self.model.decoder, "encoding", None)
        return {
            "checkpoint": self.path,
            "checkpoint_sha256": self.sha256,
            "model_overrides": self.overrides,
            "model": model._name,
            "position_encoding": encoding and encoding.name,
            "position_args": encoding and format_config(encoding.config),
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "dtype": self.dtype,
            "trained_tokens": self.config.task.tokens_per_sample,
            "trained_seed": self.config.common.seed,
            "extension": extension(self.config.task),
        }

    def opener(self):
        """The index of what stands before a text: `</s>`, or what an imported model had there."""
        dictionary = self.task.source_dictionary
        trained = getattr(self.config.model, "trained_opener", None)
        return dictionary.bos() if trained == "<s>" else dictionary.eos()

    def ceiling(self):
        """Tokens that its positions end at, or None."""
        decoder = self.model.decoder
        if hasattr(decoder, "encoding"):
            return decoder.encoding.max_positions
        table = getattr(decoder, "embed_positions", None)
        return table.max_positions if isinstance(table, LearnedPositionalEmbedding) else None

    def refuse_beyond_reach(self, window):
        """Raise ValueError if windows of so many tokens are more than the model takes."""
        most = self.ceiling()
        if most is not None and window > most:
            raise ValueError(
                f"--lengths {window}: {self.path} has learned positions for {most} tokens only, so "
                "the others would go unscored"
            )


def extension(task):
    """How positions were drawn in training, as results say it; None if they were not."""
    if task._name != "pose_language_modeling" or task.extension == "plain":
        return None
    said = [{"original": "PoSE", "randpos": "RandPos"}.get(task.extension, "PoSE")]
    said += [f"{task.num_chunks} chunks"] * (task.extension == "chunks")
    said += [f"{task.chunk_text} text"] * (task.chunk_text != "free")
    said += ["no jump loss"] * task.no_jump_loss
    return f"{', '.join(said)} to {int(task.tokens_per_sample * task.extension_factor)}"


def load(path, data, overrides):
    """As fairseq loads it: ([model], config, task). Raises ValueError if it cannot."""
    over = overrides if data is None else {"data": data, **overrides}
    try:
        return checkpoint_utils.load_model_ensemble_and_task([path], arg_overrides=over)
    except ValueError:
        raise
    except Exception as error:  # whatever a file of something else leads to
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = next((x for x in lines if "size mismatch" in x), " ".join(lines[:1]))
        if "size mismatch" in reason:
            raise ValueError(
                f"{path} does not fit the dictionary of {data or 'its data'}, or the overrides: "
                + reason
            ) from error
        kind = type(error).__name__
        hint = "" if data else "; if its data-bin is elsewhere now, name that as DATA"
        raise ValueError(
            f"{path} is no checkpoint that fairseq loads: {kind}: {reason}{hint}"
        ) from error


def refuse_without_effect(overrides, config, path):
    """Raise ValueError for an override of what the `config` of the checkpoint does not have."""
    known = {key for section in config.values() if section is not None for key in section}
    for key in overrides:
        if key not in known and key not in config:
            raise ValueError(f"{path} has no option {key}, so it cannot be overridden")
