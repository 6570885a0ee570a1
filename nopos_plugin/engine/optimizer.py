"""Which parameters the optimizer decays."""

import functools

from fairseq import optim


def keep_out_of_weight_decay():
    """Parameters with the attribute `exempt_from_decay` get an undecayed group of their own.

    Both hand the optimizer one flat list. Default --fp16 even makes one tensor of it, where nothing
    can be kept out: that is refused if weight decay is on.
    """
    build = optim.build_optimizer
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
