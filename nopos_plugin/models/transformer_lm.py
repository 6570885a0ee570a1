"""Stock fairseq's transformer_lm with `--position-encoding`."""

import hashlib
import json
import logging
import os
import sys
from dataclasses import dataclass, field
from typing import Optional

from fairseq import options, utils
from fairseq.dataclass import ChoiceEnum
from fairseq.models import register_model
from fairseq.models.transformer_lm import (
    DEFAULT_MAX_TARGET_POSITIONS,
    TransformerLanguageModel,
    TransformerLanguageModelConfig,
)
from fairseq.modules import AdaptiveInput, CharacterTokenEmbedder
from omegaconf import II, open_dict

from nopos_plugin import positions
from nopos_plugin.attention import KERNELS
from nopos_plugin.models import blocks
from nopos_plugin.models.blocks import BlockConfig
from nopos_plugin.models.decoder import PositionDecoder
from nopos_plugin.positions.options import changed, format_config, parse

logger = logging.getLogger(__name__)


@dataclass
class PositionLanguageModelConfig(BlockConfig, TransformerLanguageModelConfig):
    position_encoding: Optional[ChoiceEnum(positions.names())] = field(
        default=None,
        metadata={"help": "how the model knows the order of tokens (default: as the arch says)"},
    )
    position_args: str = field(
        default="",
        metadata={
            "help": "options of the position encoding, option=value,option=value (nopos-encodings "
            "lists them); given at evaluation, they are merged over the checkpoint's"
        },
    )
    attention_kernel: ChoiceEnum(["auto", *sorted(KERNELS)]) = field(
        default="auto",
        metadata={"help": "how attention is computed, which never changes what (see README)"},
    )
    attention_window: Optional[int] = field(
        default=None,
        metadata={"help": "tokens that a token sees at most, itself included (default: all)"},
    )
    document_mask: bool = field(
        default=False,
        metadata={"help": "keep attention within a document; </s> in the input opens the next"},
    )
    # What the checkpoint was trained with, all options resolved when the model is built. Without
    # help they are no command line flags, so overrides at evaluation leave them alone.
    trained_position_encoding: Optional[str] = II("model.position_encoding")
    trained_position_args: Optional[str] = II("model.position_args")
    trained_dictionary: Optional[str] = None  # fingerprint
    trained_opener: Optional[str] = None  # the symbol before a text, where that is not </s>


@register_model("position_transformer_lm", dataclass=PositionLanguageModelConfig)
class PositionLanguageModel(TransformerLanguageModel):
    """A stock language model around `PositionDecoder`."""

    @classmethod
    def build_model(cls, args, task):
        """As stock. Raises ValueError for options that contradict each other or the data."""
        check_config(args)
        symbols = fingerprint(task.source_dictionary)
        if args.trained_dictionary not in (None, symbols):
            raise ValueError(
                f"the dictionary ({len(task.source_dictionary)} symbols) is not the one that the "
                "checkpoint was trained with: name its data-bin, or one of the same dict.txt"
            )
        if args.decoder_layers_to_keep:
            args.decoder_layers = len(args.decoder_layers_to_keep.split(","))
        if args.max_target_positions is None:
            args.max_target_positions = args.tokens_per_sample or DEFAULT_MAX_TARGET_POSITIONS
        encoding = build_encoding(args, task)
        decoder = PositionDecoder(
            args,
            task.target_dictionary,
            build_embedding(cls, args, task.source_dictionary),
            encoding,
        )
        remember(
            args,
            trained_position_encoding=encoding.name,
            trained_position_args=format_config(encoding.config),
            trained_dictionary=symbols,
        )
        logger.info(f"position encoding: {encoding.describe()}{describe_attention(args)}")
        return cls(decoder)

    def max_decoder_positions(self):
        """Tokens that generation may reach, as the int that fairseq's generator wants."""
        return self.decoder.encoding.max_positions or sys.maxsize


def describe_attention(args):
    """What `args` takes from attention, for the log; nothing by default."""
    window = f"; attention window: {args.attention_window}" if args.attention_window else ""
    return window + ("; attention stays within documents" if args.document_mask else "")


def build_encoding(args, task):
    """The encoding of `args`, its options typed over those of the checkpoint."""
    shape = positions.Shape(
        num_heads=args.decoder_attention_heads,
        head_dim=blocks.head_dim(args),
        embed_dim=args.decoder_embed_dim,
        num_layers=args.decoder_layers,
        max_length=args.max_target_positions,
        dictionary=task.source_dictionary,
        separators=manifest_separators(task),
    )
    trained, given = parse(args.trained_position_args), parse(args.position_args)
    arguments = changed(positions.get(args.position_encoding), trained, given)
    encoding = positions.build(args.position_encoding, arguments, shape)
    encoding.typed = tuple(given)
    ceiling = encoding.max_positions
    if ceiling is not None and args.tokens_per_sample > ceiling:
        raise ValueError(
            f"--position-encoding {encoding.name} ends at --max-target-positions {ceiling}, but "
            f"--tokens-per-sample is {args.tokens_per_sample}: make them agree"
        )
    if not encoding.decays:
        for parameter in encoding.parameters():
            parameter.exempt_from_decay = True  # read by engine.optimizer
    return encoding


def remember(args, **trained):
    """Write what is trained into the trainer's config, which `args` may be a copy of."""
    root = args._get_parent() if hasattr(args, "_get_parent") else None
    if root is not None and root.get("model") is not None:
        with open_dict(root):
            root.model.update(trained)


def fingerprint(dictionary):
    """Of its symbols in their order, which the rows of the embedding stand for."""
    return hashlib.sha256("\n".join(dictionary.symbols).encode()).hexdigest()[:16]


def manifest_separators(task):
    """`separators` of manifest.json in the data-bin of `task`, a tuple of symbols; () if none."""
    data = getattr(getattr(task, "args", None) or task.cfg, "data", None)
    path = os.path.join(utils.split_paths(data)[0], "manifest.json") if data else ""
    if not os.path.exists(path):
        return ()
    try:
        with open(path, encoding="utf-8") as file:
            separators = json.load(file).get("separators", [])
        if type(separators) is not list or not all(isinstance(s, str) for s in separators):
            raise ValueError("separators is no list of symbols")
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{path}: not a manifest ({error}); repair or remove it") from error
    return tuple(separators)


def check_config(args):
    """ValueError where checkpoint or stock flags contradict the encoding, or heads do not fit."""
    if args.position_encoding is None:
        raise ValueError(
            f"--position-encoding is missing: choose one of {', '.join(positions.names())}, "
            "or an --arch transformer_lm_NAME"
        )
    trained = args.trained_position_encoding or args.position_encoding
    if args.position_encoding != trained:
        raise ValueError(
            f"--position-encoding {args.position_encoding}: the checkpoint was trained with "
            f"--position-encoding {trained}, and encodings do not exchange weights"
        )
    check_stock_flags(positions.get(args.position_encoding), args)
    if args.attention_kernel not in ("auto", *KERNELS):
        raise ValueError(
            f"--attention-kernel {args.attention_kernel}: known are auto, {', '.join(KERNELS)}"
        )
    if args.attention_window is not None and args.attention_window < 1:
        raise ValueError(
            f"--attention-window {args.attention_window}: a token sees at least itself, so 1 or "
            "more; leave it out to see all"
        )
    if args.decoder_xformers_att_config:
        raise ValueError(
            "--decoder-xformers-att-config: attention with position encodings has kernels of its "
            "own; leave it out and see --attention-kernel"
        )
    blocks.check(args)


def check_stock_flags(encoding, args):
    """ValueError for a stock flag in `args` that says otherwise than the class `encoding`."""
    for flag, implied in encoding.stock_flags.items():
        if getattr(args, flag, False) and not implied:
            raise ValueError(
                f"--{flag.replace('_', '-')} contradicts --position-encoding {encoding.name}: "
                "leave one of them out"
            )


def build_embedding(cls, args, dictionary):
    """Token embeddings of the kind that `args` asks for: characters, adaptive, or one matrix."""
    if args.character_embeddings:
        return CharacterTokenEmbedder(
            dictionary,
            eval(args.character_filters),
            args.character_embedding_dim,
            args.decoder_embed_dim,
            args.char_embedder_highway_layers,
        )
    if args.tie_adaptive_weights:
        adaptive = (
            args.adaptive_softmax_cutoff,
            args.adaptive_softmax_factor,
            args.decoder_output_dim,
        )
        if adaptive != (
            args.adaptive_input and args.adaptive_input_cutoff,
            args.adaptive_input_factor,
            args.decoder_input_dim,
        ):
            raise ValueError(
                "--tie-adaptive-weights needs --adaptive-input, and equal cutoffs, factors and "
                "dimensions of adaptive input and softmax"
            )
    if args.adaptive_input:
        return AdaptiveInput(
            len(dictionary),
            dictionary.pad(),
            args.decoder_input_dim,
            args.adaptive_input_factor,
            args.decoder_embed_dim,
            options.eval_str_list(args.adaptive_input_cutoff, type=int),
            args.quant_noise_pq,
            args.quant_noise_pq_block_size,
        )
    return cls.build_embedding(args, dictionary, args.decoder_input_dim)
