"""How RoPE is scaled to longer inputs: options, and the law of rope_scaling.py that they name."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nopos_plugin.positions.options import option
from nopos_plugin.positions.rope_scaling import (
    dynamic_ntk,
    linear,
    llama3,
    longrope,
    longrope_magnitude,
    ntk,
    unscaled,
    yarn,
    yarn_magnitude,
    yarn_paper,
    yarn_pose,
)

BY_PAIR = {"yarn": yarn, "yarn_paper": yarn_paper, "yarn_pose": yarn_pose, "llama3": llama3}
LAWS = ("none", "linear", "ntk", "dynamic_ntk", *BY_PAIR, "longrope")
NEED_LENGTH = ("dynamic_ntk", *BY_PAIR, "longrope")
BY_LENGTH = ("dynamic_ntk", "longrope")  # angles depend on how long an input is


@dataclass(frozen=True)
class ScalingConfig:
    scaling: str = option(
        "none", "law for inputs longer than those of training", choices=LAWS, of="scaling"
    )
    factor: float = option(
        0.0, "how many times as long, 1 or more (every law needs it)", of="scaling"
    )
    original_length: int = option(
        0,
        "positions (rope: tokens, bipe_rope: segments) that the model was trained on unscaled",
        of="scaling",
    )
    fast: float = option(
        0.0, "turns from which a pair is kept (0: 32, with llama3 4)", of="scaling"
    )
    slow: float = option(0.0, "turns up to which a pair is interpolated (0: 1)", of="scaling")
    short_factors: tuple[float, ...] = option(
        (), "longrope: of each pair, joined by |, up to the original length", of="scaling"
    )
    long_factors: tuple[float, ...] = option(
        (), "longrope: of each pair, beyond the original length", of="scaling"
    )


class Scaling:
    """The law that a ScalingConfig names, for RoPE of base `theta` on `dim` channels.

    Raises ValueError for options that are missing, wrong, or without effect.
    """

    def __init__(self, config: ScalingConfig, theta: float, dim: int):
        self.config, self.theta, self.dim = config, theta, dim
        _check(config, theta, dim)
        self.by_length = config.scaling in BY_LENGTH
        self.fixed = None if self.by_length else self._fixed()
        self.magnitude = 1.0
        if config.scaling.startswith("yarn"):
            self.magnitude = yarn_magnitude(config.factor)
        if config.scaling == "longrope":
            self.magnitude = longrope_magnitude(config.factor, config.original_length)

    def frequencies(self, order: Tensor) -> Tensor:
        """Inverse frequencies for inputs whose tokens are all at `order` (B, S), (B or 1, dim/2).

        Rows are inputs of their own: one's length does not change another's angles.
        """
        if self.fixed is not None:
            return self.fixed.to(order.device).unsqueeze(0)
        length = order.amax(1) + 1 if order.size(1) else order.new_zeros(order.size(0))
        if self.config.scaling == "dynamic_ntk":
            factor, original_length = self.config.factor, self.config.original_length
            return dynamic_ntk(self.theta, self.dim, factor, original_length, length)
        given = (self.config.short_factors, self.config.long_factors)
        short, long = (longrope(self.theta, self.dim, x).to(order.device) for x in given)
        return torch.where((length > self.config.original_length).unsqueeze(1), long, short)

    def _fixed(self):
        theta, dim, config = self.theta, self.dim, self.config
        if config.scaling == "none":
            return unscaled(theta, dim)
        if config.scaling in BY_PAIR:
            bounds = {name: getattr(config, name) for name in ("fast", "slow")}
            bounds = {name: turns for name, turns in bounds.items() if turns}
            law = BY_PAIR[config.scaling]
            return law(theta, dim, config.factor, config.original_length, **bounds)
        return {"linear": linear, "ntk": ntk}[config.scaling](theta, dim, config.factor)


def _check(config, theta, dim):
    """Raise ValueError, which names the option, its value and what is wanted."""
    law = config.scaling
    has_effect = {
        "factor": law != "none",
        "original_length": law in NEED_LENGTH,
        "fast": law in BY_PAIR,
        "slow": law in BY_PAIR,
        "short_factors": law == "longrope",
        "long_factors": law == "longrope",
    }
    for name, used in has_effect.items():
        value = getattr(config, name)
        if not used and value != getattr(ScalingConfig, name):
            whose = f"scaling={law} has no use for it"
            if name.endswith("factors"):
                whose = "only scaling=longrope has a use for it"
            raise ValueError(
                f"--position-args {name}={_text(value)}: {whose}; leave it out, or name the scaling"
            )
    if law != "none" and config.factor == 0:
        raise ValueError(
            f"--position-args scaling={law} needs a factor: how many times as long inputs are as "
            "in training, such as factor=8"
        )
    if law != "none" and not 1 <= config.factor < math.inf:
        raise ValueError(
            f"--position-args factor={config.factor}: scaling is to longer inputs, by 1 or more"
        )
    if law in NEED_LENGTH and config.original_length < 2:
        raise ValueError(
            f"--position-args original_length={config.original_length}: scaling={law} needs the "
            "length that the model was trained on before it is scaled, such as "
            "original_length=2048"
        )
    if law in ("yarn", "yarn_pose") and theta <= 1:
        raise ValueError(
            f"--position-args theta={theta}: scaling={law} needs pairs that turn at different "
            "speeds, so a theta above 1"
        )
    if law in BY_PAIR:
        fast = config.fast or (4 if law == "llama3" else 32)
        slow = config.slow or 1
        if not 0 < slow < fast < math.inf:
            raise ValueError(
                f"--position-args fast={fast:g},slow={slow:g}: scaling={law} needs fast above slow "
                "above 0"
            )
    if law == "longrope":
        for name in ("short_factors", "long_factors"):
            value = getattr(config, name)
            if len(value) != dim // 2 or not all(0 < x < math.inf for x in value):
                raise ValueError(
                    f"--position-args {name}={_text(value)}: scaling=longrope needs a positive "
                    f"factor for each of the {dim // 2} pairs of channels that rotate"
                )


def _text(value):
    return "|".join(map(str, value)) if isinstance(value, tuple) else value
