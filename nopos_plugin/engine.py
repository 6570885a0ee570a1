"""Repairs of the installed fairseq, each with its reason and a test.

None does anything where it is not needed.
"""

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
    """Parameters with the attribute `exempt_from_decay` get a group of their own, with
    weight_decay 0.

    All versions hand the optimizer one flat list. Default --fp16 even makes one tensor of it, where
    nothing can be kept out: that is refused if weight decay is on.
    """
    build = optim.build_optimizer
    if hasattr(build, "__wrapped__"):
        return
    copy_params = optim.FP16Optimizer.build_fp32_params.__func__

    @functools.wraps(build)
    def build_optimizer(cfg, params, *args, **kwargs):
        optimizer = build(cfg, params, *args, **kwargs)
        # a composite optimizer holds several
        for each in getattr(optimizer, "optimizers", {"": optimizer}).values():
            _split_exempt(each.optimizer.param_groups)
        return optimizer

    @functools.wraps(copy_params)
    def build_fp32_params(cls, cfg, params, flatten=True):
        exempt = [hasattr(p, "exempt_from_decay") for p in params]
        if flatten and any(exempt) and getattr(cfg, "weight_decay", 0):
            raise ValueError(
                f"--fp16 with --weight-decay {cfg.weight_decay} would decay the parameters of the "
                "position encoding: add --fp16-no-flatten-grads or use --memory-efficient-fp16"
            )
        copies = copy_params(cls, cfg, params, flatten)
        if not flatten:
            for copy, is_exempt in zip(copies, exempt, strict=True):
                if is_exempt:
                    copy.exempt_from_decay = True
        return copies

    optim.build_optimizer = build_optimizer
    optim.FP16Optimizer.build_fp32_params = classmethod(build_fp32_params)


def _split_exempt(groups):
    """Move the exempt parameters of an optimizer's `groups` into groups that do not decay."""
    for group in list(groups):
        exempt = [p for p in group["params"] if hasattr(p, "exempt_from_decay")]
        if exempt and "weight_decay" in group:
            group["params"] = [p for p in group["params"] if not hasattr(p, "exempt_from_decay")]
            groups.append({**group, "params": exempt, "weight_decay": 0.0})
