"""RoPE's frequencies for inputs longer than a model was trained on, one function a law.

All return inverse frequencies, (dim/2,) float64: pair i turns by so many radians a position. theta
is RoPE's base, dim the channels that rotate, factor how many times as long inputs are to be,
original_length the positions that a model was trained on. The magnitudes multiply cos and sin, and
so scores by their squares.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nopos_plugin.positions.options import option


def unscaled(theta: float, dim: int) -> Tensor:
    """theta^(-2i/dim) for i = 0 .. dim/2 - 1 (Su et al., 2021)."""
    return theta ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)


def linear(theta: float, dim: int, factor: float) -> Tensor:
    """Position interpolation: positions over `factor` (Chen et al., 2023)."""
    return unscaled(theta, dim) / factor


def ntk(theta: float, dim: int, factor: float) -> Tensor:
    """The base times factor^(dim/(dim-2)): the slowest pair is interpolated, the fastest is not
    (bloc97, 2023)."""
    return unscaled(theta * factor ** _exponent(dim), dim)


def dynamic_ntk(
    theta: float, dim: int, factor: float, original_length: int, length: Tensor
) -> Tensor:
    """`ntk` by as much as an input of `length` (...) positions needs, (..., dim/2) float64.

    The base times (factor * length / original_length - (factor - 1))^(dim/(dim-2)) beyond the
    original length. DIFFERS from dwzhu-pku/PoSE@a3d4ba8 my_modeling_llama.py: what a long input
    needed is not kept for a short one that comes after it.
    """
    grown = factor * length.double() / original_length - (factor - 1)
    base = theta * grown.clamp(min=1) ** _exponent(dim)
    powers = torch.arange(0, dim, 2, dtype=torch.float64, device=length.device) / dim
    return base.unsqueeze(-1) ** -powers


def yarn(
    theta: float, dim: int, factor: float, original_length: int, fast: float = 32, slow: float = 1
) -> Tensor:
    """YaRN as its authors' code and Hugging Face have it (Peng et al., 2023).

    Pairs that turn `fast` times or more within the original length are kept, those that turn
    `slow` times or less interpolated; between them the share falls linearly with the pair's number.
    """
    kept = _kept_by_pair(theta, dim, original_length, fast, slow)
    return unscaled(theta, dim) * (kept + (1 - kept) / factor)


def yarn_paper(
    theta: float, dim: int, factor: float, original_length: int, fast: float = 32, slow: float = 1
) -> Tensor:
    """YaRN as its paper has it: the share falls linearly with the turns (Peng et al., 2023)."""
    kept = _kept_by_turns(theta, dim, original_length, fast, slow)
    return unscaled(theta, dim) * (kept + (1 - kept) / factor)


def yarn_pose(
    theta: float, dim: int, factor: float, original_length: int, fast: float = 32, slow: float = 1
) -> Tensor:
    """The law that PoSE's LLaMA and Baichuan models were trained with (Zhu et al., 2024).

    Pairs between are interpolated by a factor that grows linearly, where `yarn` blends frequencies.
    """
    kept = _kept_by_pair(theta, dim, original_length, fast, slow)
    return unscaled(theta, dim) / (kept + factor * (1 - kept))


def llama3(
    theta: float, dim: int, factor: float, original_length: int, fast: float = 4, slow: float = 1
) -> Tensor:
    """Llama 3.1's: `yarn_paper` with other bounds, and no magnitude (Grattafiori et al., 2024)."""
    return yarn_paper(theta, dim, factor, original_length, fast, slow)


def longrope(theta: float, dim: int, factors: tuple[float, ...]) -> Tensor:
    """Each pair interpolated by a factor of its own, of dim/2 given ones (Ding et al., 2024)."""
    return unscaled(theta, dim) / torch.tensor(factors, dtype=torch.float64)


def yarn_magnitude(factor: float) -> float:
    """0.1 ln(factor) + 1."""
    return 0.1 * math.log(factor) + 1


def longrope_magnitude(factor: float, original_length: int) -> float:
    """sqrt(1 + ln(factor) / ln(original_length))."""
    return math.sqrt(1 + math.log(factor) / math.log(original_length))


def _exponent(dim):
    """Of `ntk`'s factor; a single pair stays as it is whatever the base."""
    return dim / (dim - 2) if dim > 2 else 0.0


def _kept_by_turns(theta, dim, original_length, fast, slow):
    """(dim/2,) in [0, 1], how much of each pair is kept, by its turns in the original length."""
    turns = original_length * unscaled(theta, dim) / (2 * math.pi)
    return ((turns - slow) / (fast - slow)).clamp(0, 1)


def _kept_by_pair(theta, dim, original_length, fast, slow):
    """The same, linear between the pairs that turn `fast` and `slow` times, which are rounded."""

    def pair(turns):
        return dim * math.log(original_length / (2 * math.pi * turns)) / (2 * math.log(theta))

    low, high = max(0, math.floor(pair(fast))), min(dim - 1, math.ceil(pair(slow)))
    high = high if high > low else low + 0.001
    numbers = torch.arange(dim // 2, dtype=torch.float64)
    return 1 - ((numbers - low) / (high - low)).clamp(0, 1)


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
