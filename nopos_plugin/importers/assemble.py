"""An Imported as what fairseq-train would have saved: flags, config, state."""

from dataclasses import replace
from types import SimpleNamespace

import torch
from fairseq import models, options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import OmegaConf

from nopos_plugin import positions
from nopos_plugin.importers import base
from nopos_plugin.positions.options import build_config, format_config


def flags(imported, separators=(), absent=()):
    """What fairseq-train has to be told for a model of this kind, a list of words.

    separators: symbols that end a segment; absent: symbols that have no row. Both may be none.
    """
    config = build_config(positions.get(imported.encoding), imported.position_args)
    if separators:
        config = replace(config, separators=tuple(separators))
    values = {
        # the table keeps its size, whatever --tokens-per-sample will be
        "max_target_positions": imported.length if imported.encoding == "learned" else None,
        **imported.options,
        "position_args": format_config(config) or None,
        "tokens_per_sample": imported.length,
        "absent_symbols": "|".join(absent) or None,
    }
    words = ["--task", "language_modeling", "--arch", f"transformer_lm_{imported.encoding}"]
    for name, value in values.items():
        if value is True:
            words.append("--" + name.replace("_", "-"))
        elif value is not None and value is not False:
            words += ["--" + name.replace("_", "-"), str(value)]
    return words


def checkpoint(imported, words, dictionary, data, rows=None):
    """What torch.save is to write, a checkpoint before its first update.

    words: of `flags`; data: the folder with the dictionary. rows: fairseq's index of each of the
    source's ids; None: they are the same. Tensors keep their dtype. Raises ValueError if the
    tensors are not those of a model with these flags.
    """
    parser = options.get_training_parser("language_modeling")
    parser.error = lambda said: refuse(imported, said)
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, [str(data), *words]))
    bos, eos = (imported.special.get(name) for name in ("bos", "eos"))
    cfg.model.trained_opener = "<s>" if bos not in (None, eos) else None
    # what is missing on the data-bin's side is not looked for: the folder is yet to be written
    task = SimpleNamespace(
        args=OmegaConf.create({"data": ""}),
        source_dictionary=dictionary,
        target_dictionary=dictionary,
    )
    with torch.device("meta"):
        model = models.build_model(cfg.model, task)
    tensors = imported.tensors
    if rows is not None:
        tensors = {name: moved(name, x, rows, len(dictionary)) for name, x in tensors.items()}
    if cfg.model.share_decoder_input_output_embed and base.OUTPUT not in tensors:
        tensors[base.OUTPUT] = tensors[base.EMBEDDING]
    return unstarted(cfg, fitted(model, tensors, imported.kind))


def refuse(imported, said):
    """What a parser is to do about an option that it does not take."""
    raise ValueError(f"{imported.kind}: {said}")


def unstarted(cfg, state):
    """What a trainer with the config `cfg` saves before its first update; `state`: the model's."""
    return {
        "args": None,
        "cfg": OmegaConf.to_container(cfg, resolve=True, enum_to_str=True),
        "model": state,
        "criterion": None,
        "optimizer_history": [
            {
                "criterion_name": "CrossEntropyCriterion",
                "optimizer_name": "none",
                "lr_scheduler_state": {},
                "num_updates": 0,
            }
        ],
        "task_state": {},
        "extra_state": {
            "train_iterator": {
                "version": 2,
                "epoch": 1,
                "iterations_in_epoch": 0,
                "shuffle": True,
            },
        },
        "last_optimizer_state": None,
    }


def moved(name, tensor, rows, count):
    """Rows of an embedding in the order of a dictionary of `count` symbols; zeros for the absent.

    Other tensors are what they are.
    """
    if name not in (base.EMBEDDING, base.OUTPUT):
        return tensor
    if len(tensor) != len(rows):
        raise ValueError(f"{name} has {len(tensor):,} rows, and the tokenizer {len(rows):,} pieces")
    return tensor.new_zeros(count, tensor.size(1)).index_copy(0, torch.tensor(rows), tensor)


def fitted(model, tensors, kind):
    """The state of `model`, which is on no device, with these `tensors`. Raises ValueError."""
    state = {}
    for name, own in model.state_dict().items():
        if name.endswith("_extra_state") or name == "decoder.version":
            state[name] = tensors.get(name, torch.tensor([3.0])) if "version" in name else own
        elif name not in tensors:
            raise ValueError(f"{kind}: a model with its options has {name}, and it has not")
        elif tensors[name].shape != own.shape:
            raise ValueError(
                f"{kind}: {name} has the shape {tuple(tensors[name].shape)}, and a model with its "
                f"options and dictionary {tuple(own.shape)}"
            )
        else:
            # of its own: what is a view would be saved with all that it is a view of
            state[name] = tensors[name].clone(memory_format=torch.contiguous_format)
    others = sorted(set(tensors) - set(state))
    if others:
        raise ValueError(f"{kind}: a model with its options has no {', '.join(others[:3])}")
    return state
