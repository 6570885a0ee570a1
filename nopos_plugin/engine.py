"""Repairs of the installed fairseq, each with its reason and a test. None does anything where not needed."""

import functools
import os
import types

import numpy
from fairseq import optim, utils
from fairseq.data import token_block_dataset
from fairseq.tasks.language_modeling import LanguageModelingTask


def repair():
    """Apply all of them; safe to call again."""
    restore_numpy_compat()
    name_missing_dictionary()
    keep_out_of_weight_decay()


def restore_numpy_compat():
    """`--sample-break-mode eos`, fairseq-interactive and the hub interface use np.compat.long.

    Affects fairseq 0.12.2 and fairseq-fixed 0.12.3.1 with numpy >= 2. numpy itself is left alone.
    """
    if hasattr(numpy, "compat") or hasattr(token_block_dataset.np, "compat"):
        return
    patched = types.ModuleType("numpy with compat")
    patched.__dict__.update(numpy.__dict__, compat=types.SimpleNamespace(long=numpy.int64))
    token_block_dataset.np = patched


def name_missing_dictionary():
    """A folder that is no data-bin gets a sentence; all versions name the missing file alone."""
    setup = LanguageModelingTask.setup_dictionary.__func__
    if hasattr(setup, "__wrapped__"):
        return

    @functools.wraps(setup)
    def setup_dictionary(cls, args, **kwargs):
        for path in utils.split_paths(args.data)[:1]:
            if not os.path.exists(os.path.join(path, "dict.txt")):
                raise FileNotFoundError(
                    f"{path} has no dict.txt, so it is no data-bin: "
                    "give the --destdir of fairseq-preprocess --only-source"
                )
        return setup(cls, args, **kwargs)

    LanguageModelingTask.setup_dictionary = classmethod(setup_dictionary)


def keep_out_of_weight_decay():
    """Parameters with `optim_overrides` of weight_decay 0 get a group of their own.

    That mark is fairseq's, for its composite optimizer; the others do not look at it.

    All versions hand the optimizer one flat list. Default --fp16 even makes one tensor of it, where
    nothing can be kept out: that is refused if weight decay is on.
    """
    build = optim.build_optimizer
    if hasattr(build, "__wrapped__"):
        return
    build_fp16 = optim.FP16Optimizer.build_optimizer.__func__

    @functools.wraps(build)
    def build_optimizer(cfg, params, *args, **kwargs):
        optimizer = build(cfg, params, *args, **kwargs)
        groups = optimizer.param_groups
        for group in list(groups):
            exempt = [p for p in group["params"] if _is_exempt(p)]
            if exempt and group.get("weight_decay"):
                group["params"] = [p for p in group["params"] if not _is_exempt(p)]
                groups.append({**group, "params": exempt, "weight_decay": 0.0})
        return optimizer

    @functools.wraps(build_fp16)
    def build_fp16_optimizer(cls, cfg, params, **kwargs):
        flat = not (cfg.common.fp16_no_flatten_grads or cfg.common.bf16)
        if flat and getattr(cfg.optimizer, "weight_decay", 0) and any(map(_is_exempt, params)):
            raise ValueError(
                f"--fp16 with --weight-decay {cfg.optimizer.weight_decay} would decay the parameters of "
                "the position encoding: add --fp16-no-flatten-grads (or --memory-efficient-fp16)"
            )
        return build_fp16(cls, cfg, params, **kwargs)

    optim.build_optimizer = build_optimizer
    optim.FP16Optimizer.build_optimizer = classmethod(build_fp16_optimizer)


def _is_exempt(parameter):
    overrides = getattr(parameter, "optim_overrides", None) or {}
    return overrides.get("optimizer", {}).get("weight_decay") == 0
