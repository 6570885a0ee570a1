"""A checkpoint of any language model of fairseq's, ready to be evaluated."""

from argparse import Namespace

import torch
from fairseq import checkpoint_utils, utils
from fairseq.modules import LearnedPositionalEmbedding

from nopos_plugin.positions.options import format_config
from nopos_plugin.provenance import digest

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class Checkpoint:
    """The model in the file at `path`, over the data-bin `data`, its config changed by `overrides`,
    its weights in `dtype`, one of DTYPES.

    Raises ValueError if it is no language model, or does not fit the dictionary.
    """

    def __init__(self, path, data, overrides, device, dtype, user_dir=None):
        if user_dir is not None:
            utils.import_user_module(Namespace(user_dir=user_dir))
        self.path, self.overrides, self.dtype, self.sha256 = path, overrides, dtype, digest(path)
        try:
            models, self.config, self.task = checkpoint_utils.load_model_ensemble_and_task(
                [path], arg_overrides={"data": data, **overrides}
            )
        except RuntimeError as error:
            if "size mismatch" not in str(error):
                raise
            raise ValueError(
                f"{path} does not fit the dictionary of {data}, or the overrides: "
                + next(line.strip() for line in str(error).splitlines() if "size mismatch" in line)
            ) from error
        self.model = models[0].to(device=device, dtype=DTYPES[dtype]).eval()
        if not hasattr(self.model.decoder, "extract_features") or not hasattr(
            self.task, "source_dictionary"
        ):
            raise ValueError(f"{path} is no language model")

    def described(self):
        """What a result says of it."""
        model = self.config.model
        encoding = getattr(self.model.decoder, "encoding", None)
        return {
            "checkpoint": self.path,
            "checkpoint_sha256": self.sha256,
            "model_overrides": self.overrides,
            "model": model._name,
            "position_encoding": encoding and encoding.name,
            "position_args": encoding and format_config(encoding.config),
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "dtype": self.dtype,
            "trained_tokens": self.config.task.tokens_per_sample,
        }

    def refuse_beyond_reach(self, window):
        """Raise ValueError if windows of so many tokens are more than the model takes."""
        most = ceiling(self.model.decoder)
        if most is not None and window > most:
            raise ValueError(
                f"--lengths {window}: {self.path} has learned positions for {most} tokens only, so "
                "the others would go unscored"
            )


def ceiling(decoder):
    """Tokens that its positions end at, or None."""
    if hasattr(decoder, "encoding"):
        return decoder.encoding.max_positions
    table = getattr(decoder, "embed_positions", None)
    return table.max_positions if isinstance(table, LearnedPositionalEmbedding) else None
