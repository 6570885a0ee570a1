"""What a transformer block is made of, where released models differ from stock fairseq's."""

import dataclasses
from dataclasses import dataclass, field
from typing import Optional

import torch
import torch.nn.functional as F
from fairseq.dataclass import ChoiceEnum
from torch import nn

GLUS = {"swiglu": F.silu, "geglu": F.gelu}


@dataclass
class BlockConfig:
    """Options of the blocks; the defaults are stock fairseq's blocks."""

    decoder_norm: ChoiceEnum(["layer", "rms"]) = field(
        default="layer",
        metadata={"help": "LayerNorm, or RMSNorm, which has neither mean nor bias"},
    )
    decoder_norm_eps: float = field(
        default=1e-5, metadata={"help": "added to the variance in every norm"}
    )
    decoder_glu: Optional[ChoiceEnum(sorted(GLUS))] = field(
        default=None,
        metadata={
            "help": "gated feed-forward: fc1 makes gate and value, --decoder-ffn-embed-dim each, "
            "and fc2 gets activation(gate) * value; instead of --activation-fn (default: no gate)"
        },
    )
    decoder_no_bias: bool = field(
        default=False, metadata={"help": "projections and norms of the blocks without biases"}
    )
    decoder_head_dim: Optional[int] = field(
        default=None,
        metadata={"help": "dimensions a head (default: embedding dimension / attention heads)"},
    )
    decoder_kv_heads: Optional[int] = field(
        default=None,
        metadata={
            "help": "key/value heads, each shared by as many query heads; they divide the "
            "attention heads (default: all of them, no sharing)"
        },
    )
    decoder_parallel_residual: bool = field(
        default=False,
        metadata={"help": "x + attention(norm(x)) + feed-forward(norm(x)), as in GPT-NeoX"},
    )
    decoder_unscaled_attention: bool = field(
        default=False, metadata={"help": "attention without 1/sqrt(dimensions a head), as in T5"}
    )
    final_logit_scale: float = field(
        default=1.0, metadata={"help": "multiplies the features that the output layer gets"}
    )
    decoder_final_dropout: float = field(
        default=0.0, metadata={"help": "dropout of the features that the output layer gets"}
    )
    decoder_init: ChoiceEnum(["fairseq", "t5"]) = field(
        default="fairseq",
        metadata={
            "help": "how weights start: as fairseq's, or as T5's, which unscaled attention and "
            "--final-logit-scale go with"
        },
    )
    absent_symbols: str = field(
        default="",
        metadata={
            "help": "symbols of the dictionary that never get any probability, joined by |; an "
            "imported model names those that it does not have"
        },
    )


OPTIONS = tuple(option.name for option in dataclasses.fields(BlockConfig))
TRAINING = ("decoder_final_dropout", "decoder_init")  # of no effect once weights are there
# Others that change what the same weights compute, and that their shapes do not tell.
STOCK = (
    "decoder_attention_heads",
    "decoder_normalize_before",
    "no_scale_embedding",
    "activation_fn",
)
# Flags of stock fairseq that get lost on the way to its layers.
SCALES = ("scale_attn", "scale_fc", "scale_heads", "scale_resids")


def flag(name):
    return "--" + name.replace("_", "-")


def check(args):
    """ValueError for options of the blocks that contradict each other or others of `args`."""
    if args.decoder_head_dim is None and args.decoder_embed_dim % args.decoder_attention_heads:
        raise ValueError(
            f"--decoder-attention-heads {args.decoder_attention_heads} does not divide "
            f"--decoder-embed-dim {args.decoder_embed_dim}: name --decoder-head-dim, or other heads"
        )
    for name in ("decoder_head_dim", "decoder_kv_heads", "decoder_norm_eps", "final_logit_scale"):
        value = getattr(args, name)
        if value is not None and value <= 0:
            raise ValueError(f"{flag(name)} {value}: it is a positive number")
    heads, kv_heads = args.decoder_attention_heads, args.decoder_kv_heads
    if kv_heads is not None and heads % kv_heads:
        raise ValueError(
            f"--decoder-kv-heads {kv_heads} does not divide --decoder-attention-heads {heads}"
        )
    if args.decoder_glu not in (None, *GLUS):
        raise ValueError(f"--decoder-glu {args.decoder_glu}: known are {', '.join(GLUS)}")
    if not 0 <= args.decoder_final_dropout < 1:
        raise ValueError(
            f"--decoder-final-dropout {args.decoder_final_dropout}: give 0 or more, below 1"
        )
    if args.decoder_init not in ("fairseq", "t5"):
        raise ValueError(f"--decoder-init {args.decoder_init}: known are fairseq, t5")
    if args.decoder_norm not in ("layer", "rms"):
        raise ValueError(f"--decoder-norm {args.decoder_norm}: known are layer, rms")
    if args.decoder_parallel_residual and not args.decoder_normalize_before:
        raise ValueError("--decoder-parallel-residual needs --decoder-normalize-before")
    for name in SCALES:
        if getattr(args, name):
            raise ValueError(f"{flag(name)} has no effect in this fairseq: leave it out")
    others = [name for name in OPTIONS if getattr(args, name) != getattr(BlockConfig, name)]
    if args.base_layers and others:
        raise ValueError(
            f"--base-layers {args.base_layers} does not go with {flag(others[0])}, which its "
            "experts do not have: leave one out"
        )
    if args.decoder_glu is not None and args.activation_fn != "relu":  # the default
        raise ValueError(
            f"--activation-fn {args.activation_fn} has no effect with --decoder-glu "
            f"{args.decoder_glu}: leave it at relu"
        )
    if args.adaptive_softmax_cutoff is not None:
        for name in ("final_logit_scale", "absent_symbols"):
            if getattr(args, name) != getattr(BlockConfig, name):
                raise ValueError(
                    f"{flag(name)} {getattr(args, name)}: not with --adaptive-softmax-cutoff"
                )


def head_dim(args):
    """Dimensions a head."""
    return args.decoder_head_dim or args.decoder_embed_dim // args.decoder_attention_heads


def absent(args, dictionary):
    """Indices of --absent-symbols; ValueError for one that `dictionary` has not."""
    symbols = [symbol for symbol in args.absent_symbols.split("|") if symbol]
    for symbol in symbols:
        if symbol not in dictionary.indices:
            raise ValueError(f"--absent-symbols {symbol}: the dictionary has no such symbol")
    return tuple(dictionary.indices[symbol] for symbol in symbols)


def start_as_t5(decoder):
    """Draw the weights of a PositionDecoder as T5's: N(0, s^2) by what goes into them.

    s is 1 for the embeddings, (C D)^-1/2 for queries, whose scores nothing scales, and for others
    the inverse root of their inputs. C: dimensions of the embedding, D: of a head. What the output
    layer has of its own, and the encoding, stay as they are (Raffel et al., 2020).
    """
    nn.init.normal_(decoder.embed_tokens.weight)
    nn.init.zeros_(decoder.embed_tokens.weight[decoder.padding_idx])
    for layer in decoder.layers.children():
        attention = layer.self_attn
        dim = attention.q_proj.out_features // attention.num_heads
        for linear in (
            attention.k_proj,
            attention.v_proj,
            attention.out_proj,
            layer.fc1,
            layer.fc2,
        ):
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
        nn.init.normal_(attention.q_proj.weight, std=(attention.q_proj.in_features * dim) ** -0.5)


def norm(dim, args):
    """The norm of `dim` channels that `args` ask for."""
    if args.decoder_norm == "rms":
        return nn.RMSNorm(dim, eps=args.decoder_norm_eps)
    return nn.LayerNorm(dim, eps=args.decoder_norm_eps, bias=not args.decoder_no_bias)


class Gate:
    """What stands for the activation function where fc1 makes gate and value, one after the other.

    GLU variants (Shazeer, 2020, Eq. 6): activation(gate) * value, each (..., F), of (..., 2 F).
    """

    def __init__(self, name):
        self.activation = GLUS[name]

    def __call__(self, x):
        gate, value = x.chunk(2, dim=-1)
        return self.activation(gate) * value


class Recorded(nn.Module):
    """What a checkpoint says of the blocks, in the state dict; weights of others are a ValueError.

    Norms, gates, scales and activations do not show in the shapes of parameters: without this, one
    model would load as another that computes something else.
    """

    def __init__(self, args):
        super().__init__()
        stock = {name: getattr(args, name) for name in STOCK}
        recorded = [name for name in OPTIONS if name not in TRAINING]
        defaults = {name: getattr(BlockConfig, name) for name in recorded}
        defaults["decoder_head_dim"] = args.decoder_embed_dim // args.decoder_attention_heads
        defaults["decoder_kv_heads"] = args.decoder_attention_heads
        values = {name: getattr(args, name) for name in recorded}
        values["decoder_head_dim"] = head_dim(args)
        values["decoder_kv_heads"] = args.decoder_kv_heads or args.decoder_attention_heads
        values["absent_symbols"] = "|".join(sorted(values["absent_symbols"].split("|")))
        self.own = lines({**values, **stock})
        self.defaults = lines({**defaults, **stock})

    def get_extra_state(self):
        """The bytes of a text, in floats, as an encoding's."""
        return as_floats(self.own)

    def before_options(self):
        """That of a checkpoint from before there were options, as stock fairseq's are."""
        return as_floats(self.defaults)

    def set_extra_state(self, state):
        """Nothing: what a checkpoint says is compared, not obeyed."""

    def _load_from_state_dict(self, state_dict, prefix, *args):
        saved = state_dict[f"{prefix}_extra_state"]
        text = bytes(saved.round().int().tolist()).decode()
        said = dict(line.split(" ", 1) for line in text.split("\n"))
        # what it does not say was no option then
        then, now = {**self.defaults, **said}, self.own
        changed = [name for name in then if then[name] != now.get(name)]
        if changed:
            trained, typed = (
                ", ".join(f"{name} {its[name]}" for name in changed if name in its)
                for its in (then, now)
            )
            raise ValueError(f"the checkpoint's blocks have {trained}; this model has {typed}")
        super()._load_from_state_dict(state_dict, prefix, *args)


def lines(values):
    """{flag: text}"""
    return {flag(name): str(value) for name, value in values.items()}


def as_floats(said):
    text = "\n".join(f"{name} {value}" for name, value in said.items())
    return torch.tensor(list(text.encode()), dtype=torch.float)
