"""Checkpoints of transformer_lm: stock fairseq's, the NoPos fork's and the ALiBi fork's.

The forks changed what the same names compute, and stock fairseq loads their ALiBi models as another
encoding, without a word.
"""

from argparse import Namespace
from pathlib import Path

from fairseq.data import Dictionary
from fairseq.models.transformer_lm import TransformerLanguageModelConfig
from omegaconf import OmegaConf

from nopos_plugin.importers import base, weights
from nopos_plugin.importers.base import Imported

# What we say otherwise, or what does not change what is computed.
LEFT_OUT = {
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
SINUSOIDAL, LEARNED = "decoder.embed_positions._float_tensor", "decoder.embed_positions.weight"


def convert(source):
    """The Imported of the file `source.path`. Raises ValueError if its encoding is in doubt."""
    state = weights.unpickled(source.path, source.trusted)
    if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
        raise ValueError(f"{source.path} is no checkpoint of fairseq's: it holds no model by name")
    if any(name.endswith("encoding._extra_state") for name in state["model"]):
        raise ValueError(f"{source.path} is a checkpoint of this plugin already")
    found = weights.Weights(state["model"], source.path)
    if base.EMBEDDING not in found and "decoder.embed_tokens.embeddings.0.0.weight" not in found:
        raise ValueError(f"{source.path} is no language model of fairseq's: no {base.EMBEDDING}")
    model, task, apart = configuration(state, source)
    encoding, arguments, why = encoding_of(model, found, source, apart)
    tensors = {}
    if LEARNED in found:
        tensors["decoder.encoding.weight"] = found.take(LEARNED)
    found.drop(SINUSOIDAL.replace(".", r"\."), "a marker without numbers")
    for name in [name for name in found.left if name.startswith("decoder.")]:
        tensors[name] = found.take(name)
    length = task.get("tokens_per_sample") or model.get("tokens_per_sample") or 1024
    return Imported(
        kind=why,
        encoding=encoding,
        position_args=arguments,
        options=options_of(model),
        tensors=tensors,
        length=int(model.get("max_target_positions") or length),
        symbols=dictionary_of(source, task),
        dropped=found.finish(),
    )


def configuration(state, source):
    """({option: value} of the model, of the task, do they tell the model's own options apart?)."""
    cfg = state.get("cfg")
    if cfg is not None:
        cfg = OmegaConf.to_container(cfg) if OmegaConf.is_config(cfg) else cfg
        model, task = (as_dict(cfg.get(name)) for name in ("model", "task"))
        return model, task, True
    if isinstance(state.get("args"), Namespace):  # before 2021, all options in one
        return vars(state["args"]), vars(state["args"]), False
    raise ValueError(f"{source.path} does not say what model it is of: it has neither cfg nor args")


def as_dict(value):
    return vars(value) if isinstance(value, Namespace) else dict(value or {})


def encoding_of(model, found, source, apart):
    """(encoding, its options, what the checkpoint was recognised as), by all that it says."""
    without, learned = (
        bool(model.get(name)) for name in ("no_token_positional_embeddings", "decoder_learned_pos")
    )
    arguments, kind = {}, "a checkpoint of stock fairseq"
    if without:
        encoding = "nopos"
    else:
        encoding = "learned" if learned else "sinusoidal"
    if "alibi" in model:
        kind = "a checkpoint of the NoPos fork"
        if model["alibi"] and not without:
            raise ValueError(
                f"{source.path} was trained by the NoPos fork with --alibi and {encoding} "
                "positions at once: this plugin has no such encoding"
            )
        if model["alibi"]:
            encoding, arguments = "alibi", {"slopes": "nopos_fork"}
    elif apart and "max_tokens" in model:
        # it has no flag: its bias is always there, beside a module of sinusoids that nothing reads
        kind = "a checkpoint of the ALiBi fork"
        if without or learned:
            raise ValueError(
                f"{source.path} is of the ALiBi fork by its max_tokens, and has "
                f"{'no' if without else 'learned'} positions by its flags: it is not known what "
                "it computes"
            )
        encoding = "alibi"
    if (LEARNED in found) != (encoding == "learned") or (
        SINUSOIDAL in found and encoding in ("nopos", "learned")
    ):
        table = "a learned table" if LEARNED in found else "sinusoids"
        raise ValueError(
            f"{source.path}: {encoding} by its options, but it has "
            + (table if LEARNED in found or SINUSOIDAL in found else "no table of positions")
        )
    return encoding, arguments, kind


def options_of(model):
    """{option: value} of the stock model, where it is not the default."""
    defaults = OmegaConf.to_container(
        OmegaConf.structured(TransformerLanguageModelConfig), enum_to_str=True
    )
    return {
        name: model[name]
        for name, default in defaults.items()
        if name not in LEFT_OUT and model.get(name) is not None and model[name] != default
    }


def dictionary_of(source, task):
    """Symbols of dict.txt: the one named by --dict, beside the checkpoint, or in its data-bin."""
    data = str(task.get("data") or "").split(":")[0]
    beside = [source.path.parent / "dict.txt", *([Path(data, "dict.txt")] if data else [])]
    named = [source.dictionary] if source.dictionary else beside
    for path in named:
        if path.is_file():
            return Dictionary.load(str(path)).symbols
    raise ValueError(
        f"{source.path} is trained on a dictionary, and there is no "
        f"{' and no '.join(map(str, named))}: name it by --dict"
    )
