"""Checkpoints of transformer_lm: stock fairseq's, the NoPos fork's and the ALiBi fork's.

The forks changed what the same names compute, and stock fairseq loads their ALiBi models as another
encoding, without a word.
"""

import dataclasses
import re
from argparse import Namespace
from pathlib import Path

from fairseq.data import Dictionary
from fairseq.models.transformer_lm import TransformerLanguageModelConfig, base_lm_architecture
from omegaconf import OmegaConf

from nopos_plugin.importers import weights
from nopos_plugin.importers.base import Imported
from nopos_plugin.models.blocks import SCALES

# What we say otherwise, or what does not change what is computed but for the tensors it adds.
LEFT_OUT = {
    *SCALES,
    "_name",
    "no_token_positional_embeddings",
    "decoder_learned_pos",
    "checkpoint_activations",
    "offload_activations",
    "min_params_to_wrap",
    "decoder_layers_to_keep",
    "decoder_xformers_att_config",
    "add_bos_token",
    "tokens_per_sample",
    "max_target_positions",
    "tpu",
}
LEARNED = "decoder.embed_positions.weight"
# Sinusoids are made anew; a state has a marker of them, or before 2019 the table, or nothing.
SINUSOIDS = re.compile(r"decoder\.embed_positions\.(_float_tensor|weights)")
VERSION = "decoder.adaptive_softmax.version"  # an integer, the same in all
# Text that fairseq evaluates as Python.
EVALUATED = ("adaptive_softmax_cutoff", "adaptive_input_cutoff", "character_filters")
STOCK = {option.name for option in dataclasses.fields(TransformerLanguageModelConfig)}


def convert(source):
    """The Imported of the file `source.path`. Raises ValueError if its encoding is in doubt."""
    state = weights.unpickled(source.path, source.trusted)
    if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
        raise ValueError(f"{source.path} is no checkpoint of fairseq's: it holds no model by name")
    if "decoder.encoding._extra_state" in state["model"]:
        raise ValueError(f"{source.path} is a checkpoint of this plugin already")
    parts = {str(name).partition(".")[0] for name in state["model"]}
    if "decoder" not in parts or "encoder" in parts:
        raise ValueError(f"{source.path} is of no language model, by the names of its tensors")
    found = weights.Weights(state["model"], source.path)
    model, task, apart = configuration(state, source)
    encoding, arguments, why = encoding_of(model, found, source, apart)
    tensors = {}
    if LEARNED in found:
        tensors["decoder.encoding.weight"] = found.take(LEARNED)
    if VERSION in found:
        tensors[VERSION] = found.left.pop(VERSION)
    found.drop(SINUSOIDS.pattern, "sinusoids, made anew where they are added")
    for name in [name for name in found.left if name.startswith("decoder.")]:
        tensors[name] = found.take(name)
    length = task.get("tokens_per_sample") or model.get("tokens_per_sample") or 1024
    return Imported(
        kind=why,
        encoding=encoding,
        position_args=arguments,
        options=options_of(model, source),
        tensors=tensors,
        length=int(model.get("max_target_positions") or length),
        symbols=dictionary_of(source, task),
        dropped=found.finish(),
    )


def configuration(state, source):
    """({option: value} of the model, of the task, do they tell the model's own options apart?)."""
    cfg = state.get("cfg")
    if OmegaConf.is_config(cfg):
        cfg = OmegaConf.to_container(cfg)
    if isinstance(cfg, dict):
        model, task = (cfg.get(name) for name in ("model", "task"))
        return as_dict(model), as_dict(task), not isinstance(model, Namespace)
    if isinstance(state.get("args"), Namespace):  # before 2021, all options in one
        args = Namespace(**vars(state["args"]))
        normalizes = getattr(args, "decoder_normalize_before", True)
        base_lm_architecture(args)  # by today's names; it says pre-norm, whatever they say
        args.decoder_normalize_before = normalizes
        return vars(args), vars(args), False
    raise ValueError(f"{source.path} does not say what model it is of: it has neither cfg nor args")


def as_dict(value):
    return vars(value) if isinstance(value, Namespace) else dict(value or {})


def encoding_of(model, found, source, apart):
    """(encoding, its options, what the checkpoint was recognised as), by all that it says."""
    without, learned = (
        bool(model.get(name)) for name in ("no_token_positional_embeddings", "decoder_learned_pos")
    )
    added = "nopos" if without else "learned" if learned else "sinusoidal"  # as stock fairseq does
    sinusoids = any(SINUSOIDS.fullmatch(name) for name in found.left)
    if (LEARNED in found) != (added == "learned") or sinusoids and added != "sinusoidal":
        table = "a learned table" if LEARNED in found else "sinusoids" * sinusoids
        raise ValueError(
            f"{source.path}: {added} by its options, but it has {table or 'no table of positions'}"
        )
    if "alibi" in model:
        kind = "a checkpoint of the NoPos fork"
        if not model["alibi"]:
            return added, {}, kind
        if added != "nopos":
            raise ValueError(
                f"{source.path} was trained by the NoPos fork with --alibi and {added} "
                "positions at once: this plugin has no such encoding"
            )
        return "alibi", {"slopes": "nopos_fork"}, kind
    if not apart and added == "sinusoidal":
        # the ALiBi fork's own option is one of the training here, as everyone has it
        if source.encoding not in ("sinusoidal", "alibi"):
            raise ValueError(
                f"{source.path} is of stock fairseq, with sinusoidal positions, or of the ALiBi "
                "fork: it does not say which, so say --position-encoding sinusoidal or alibi"
            )
        kind = "a checkpoint of stock fairseq"
        return source.encoding, {}, "one of the ALiBi fork" if source.encoding == "alibi" else kind
    if apart and "max_tokens" in model:
        # it has no flag: its bias is always there, beside a module of sinusoids that nothing reads
        if added != "sinusoidal":
            raise ValueError(
                f"{source.path} is of the ALiBi fork by its max_tokens, and has {added} positions "
                "by its flags: it is not known what it computes"
            )
        return "alibi", {}, "a checkpoint of the ALiBi fork"
    unknown = sorted(name for name in set(model) - STOCK if model[name])
    if apart and unknown:
        raise ValueError(
            f"{source.path} is of another fork than are known here, by its options "
            f"{', '.join(unknown)}: it is not known what it computes"
        )
    return added, {}, "a checkpoint of stock fairseq"


def options_of(model, source):
    """{option: value} of the stock model, where it is not the default. Raises ValueError."""
    stock = OmegaConf.structured(TransformerLanguageModelConfig)
    options = {}
    for name, default in OmegaConf.to_container(stock, enum_to_str=True).items():
        value = model.get(name)
        if name in LEFT_OUT or value is None or value == default:
            continue
        if name.startswith("base_") and not model.get("base_layers"):
            continue
        if name in EVALUATED and not re.fullmatch(r"[\d ,()\[\]]*", str(value)):
            raise ValueError(f"{source.path}: {name} is {value!r}, and should be numbers alone")
        try:
            stock[name] = value
        except ValueError:
            raise ValueError(
                f"{source.path}: {name} is {value!r}, as in no transformer_lm"
            ) from None
        options[name] = value
    return options


def dictionary_of(source, task):
    """Symbols of dict.txt: the one named by --dict, beside the checkpoint, or in its data-bin."""
    data = str(task.get("data") or "").split(":")[0]
    beside = [source.path.parent / "dict.txt", *([Path(data, "dict.txt")] if data else [])]
    named = [source.dictionary] if source.dictionary else beside
    for path in named:
        if path.is_file():
            try:
                return Dictionary.load(str(path)).symbols
            except Exception as error:  # of any kind
                raise ValueError(f"{path} is no dictionary of fairseq's ({error})") from None
    raise ValueError(
        f"{source.path} is trained on a dictionary, and there is no "
        f"{' and no '.join(map(str, named))}: name it by --dict"
    )
