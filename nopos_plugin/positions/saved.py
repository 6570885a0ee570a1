"""What a checkpoint says of its encoding, and what is compared with it when it is loaded."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nopos_plugin.positions.options import format_config, owner, parse

logger = logging.getLogger(__name__)


class Saved(nn.Module):
    """A module with a `name` and a `config` that go into the state dict, as `_extra_state`.

    NoPos, ALiBi and RoPE have no parameters: without this, one would load as the other.
    """

    name: ClassVar[str]
    Config: ClassVar[type]
    config: Any
    typed: Collection[str] | None = None  # options that may differ from a checkpoint's; None: all

    def get_extra_state(self) -> Tensor:
        """Name, options and number of parameters as the bytes of their text, in floats: averages of
        checkpoints and moving averages of weights keep those, in half precision too."""
        text = f"{self.name} {format_config(self.config)} parameters={self.num_parameters()}"
        return torch.tensor(list(text.encode()), dtype=torch.float)

    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def set_extra_state(self, state):
        """Nothing: what a checkpoint says is compared in `_load_from_state_dict`, not obeyed."""

    def _load_from_state_dict(self, state_dict, prefix, *args):
        """As torch does, but another encoding's checkpoint, or other sizes, are a ValueError."""
        saved = state_dict.get(f"{prefix}_extra_state")
        if saved is not None:
            stored = {
                key[len(prefix) :]: tuple(value.shape)
                for key, value in state_dict.items()
                if key.startswith(prefix) and not key.endswith("_extra_state")
            }
            self._compare(bytes(saved.round().int().tolist()).decode(), stored)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _compare(self, saved, stored):
        name, options, _ = saved.split(" ")
        if name != self.name:
            raise ValueError(
                f"--position-encoding {self.name}: the checkpoint was trained with "
                f"--position-encoding {name}, and encodings do not exchange weights"
            )
        default = parse(format_config(self.Config(), all_options=True))
        then, now = ({**default, **parse(text)} for text in (options, format_config(self.config)))
        changed = [key for key in now if then[key] != now[key]]
        changes = ", ".join(
            f"{key}={now[key]}"
            # of an option that belongs to another one the default says nothing
            + f" (trained: {then[key]})"
            * (then[key] != default[key] or owner(type(self), key) in (key, None))
            for key in changed
        )
        own = {key: tuple(parameter.shape) for key, parameter in self.named_parameters()}
        if stored != own:
            what = f"--position-args {changes}" if changes else f"--position-encoding {name}"
            raise ValueError(
                f"{what}: the model wants parameters {own}, the checkpoint has {stored}; keep the "
                "options, length, heads and layers that it was trained with"
            )
        self._refuse_unasked([(key, now[key], then[key]) for key in changed])
        if changes:
            logger.warning(f"position encoding {name} changed since training: {changes}")

    def _refuse_unasked(self, changes):
        """ValueError if one of `changes`, (option, value, trained), is of none that was typed."""
        if self.typed is None:
            return
        unasked = [
            one for one in changes if not {one[0], owner(type(self), one[0])} & set(self.typed)
        ]
        if unasked:
            now = ",".join(f"{key}={value}" for key, value, _ in unasked)
            then = ",".join(f"{key}={trained}" for key, _, trained in unasked)
            raise ValueError(
                f"--position-args: the checkpoint was trained with {then}, and this model has "
                f"{now}: type the former to go on with it, the latter to change it"
            )
