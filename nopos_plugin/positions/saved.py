"""What a checkpoint says of its encoding, and what is compared with it when it is loaded."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nopos_plugin.positions.options import format_config, parse

logger = logging.getLogger(__name__)


class Saved(nn.Module):
    """A module with a `name` and a `config` that go into the state dict, as `_extra_state`.

    NoPos, ALiBi and RoPE have no parameters: without this, one would load as the other.
    """

    name: ClassVar[str]
    config: Any

    def get_extra_state(self) -> Tensor:
        """Name and options as the codes of their text, which an average of checkpoints keeps."""
        return torch.tensor([ord(c) for c in f"{self.name} {format_config(self.config)}"])

    def set_extra_state(self, state):
        """Nothing: what a checkpoint says is compared in `_load_from_state_dict`, not obeyed."""

    def _load_from_state_dict(self, state_dict, prefix, *args):
        """As torch does, but another encoding's checkpoint, or other sizes, are a ValueError."""
        saved = state_dict.get(f"{prefix}_extra_state")
        if saved is not None:
            self._compare("".join(map(chr, saved.tolist())), state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _compare(self, saved, state_dict, prefix):
        name, _, options = saved.partition(" ")
        if name != self.name:
            raise ValueError(
                f"--position-encoding {self.name}: the checkpoint was trained with "
                f"--position-encoding {name}, and encodings do not exchange weights"
            )
        then, now = parse(options), parse(format_config(self.config))
        changed = [key for key in now if then.get(key) != now[key]]
        if not changed:
            return
        changes = ", ".join(f"{key}={now[key]} (trained: {then.get(key)})" for key in changed)
        stored = {
            key.removeprefix(prefix): value.shape
            for key, value in state_dict.items()
            if key.startswith(prefix) and not key.endswith("_extra_state")
        }
        if stored != {key: parameter.shape for key, parameter in self.named_parameters()}:
            raise ValueError(
                f"--position-args {changes}: the parameters of {self.name} would change shape; "
                "keep what the checkpoint was trained with"
            )
        logger.warning(f"position encoding {self.name} changed since training: {changes}")
