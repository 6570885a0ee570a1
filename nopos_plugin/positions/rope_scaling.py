"""RoPE's frequencies for inputs longer than a model was trained on, one function a law.

All return inverse frequencies, (dim/2,) float64: pair i turns by so many radians a position. theta
is RoPE's base, dim the channels that rotate, factor how many times as long inputs are to be,
original_length the positions that a model was trained on. The magnitudes multiply cos and sin, and
so scores by their squares.
"""

import math

import torch
from torch import Tensor


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
