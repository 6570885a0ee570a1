"""Folders of layer files as gpt-neox and DeepSpeed write them, KERPLE's releases among them.

A layer is a file for each model-parallel process: layer_02-model_00-model_states.pt.
"""

import re

import torch
import yaml

from nopos_plugin.importers import base, gpt_neox, weights
from nopos_plugin.importers.base import Config, Imported
from nopos_plugin.positions.alibi import standard_slopes
from nopos_plugin.positions.kerple import KerpleLog, KerplePower, inverse_softplus

FILE = re.compile(r"layer_(\d+)-model_(\d+)-model_states\.pt")
# Along which dimension processes have parts of a tensor; what is of none here all have whole.
PARTS = {
    "word_embeddings.weight": 0,
    "attention.query_key_value.weight": 0,
    "attention.query_key_value.bias": 0,
    "mlp.dense_h_to_4h.weight": 0,
    "mlp.dense_h_to_4h.bias": 0,
    "attention.dense.weight": 1,
    "mlp.dense_4h_to_h.weight": 1,
    "attention.rpe.weight": 1,
    "attention.rpe.bias_p": 0,
    "attention.rpe.bias_a": 0,
    "attention.alibi_embed.slopes": 0,
}
# Of these each process adds its own before all add up, in parallel attention and feed-forward.
SUMMED = ("attention.dense.bias", "mlp.dense_4h_to_h.bias")
KERNELS = {  # pos_emb -> encoding, its class, and the names of r1 and r2
    "kerple_log": ("kerple_log", KerpleLog, "bias_p", "bias_a"),
    "kerple_power_ap_": ("kerple_power", KerplePower, "bias_a", "bias_p"),
    "kerple_power_original": ("kerple_power", KerplePower, "bias_a", None),
}
SMALLEST, LARGEST = 0.01, 2.0  # of a kernel's parameters, in the forward of the release


def recognises(folder):
    return any(FILE.fullmatch(path.name) for path in folder.iterdir())


def convert(source):
    """The Imported of the folder `source.path`, with the options of the training beside it."""
    config = Config(options_of(source), source.config or source.path)
    dim, heads = config.number("hidden_size"), config.number("num_attention_heads")
    if dim % heads:
        raise ValueError(
            f"{config.source}: num_attention_heads {heads} does not divide hidden_size {dim}"
        )
    num_layers = config.number("num_layers")
    config.only(
        norm="layernorm",
        activation="gelu",
        apply_query_key_layer_scaling=False,
        gpt_j_tied=False,
        num_unique_layers=num_layers,
        opt_pos_emb_offset=0,
        use_mup=False,
        sliding_window_width=None,
    )
    kinds = re.findall("[a-z_]+", str(config.get("attention_config", "global")))
    for kind in set(kinds) - {"all", "flash"}:  # how often, and a kernel
        Config({"attention_config": kind}, config.source).only(attention_config="global")
    parallel = bool(config.get("gpt_j_residual", False))
    found = read(source, dim, parallel)
    embedding = found.take("embedding.word_embeddings.weight")
    tensors = {base.EMBEDDING: embedding}
    for number in range(num_layers):
        its = gpt_neox.take_layer(found, f"layer.{number}.", dim, heads, 4 * dim)
        tensors.update({base.layer(number, name): tensor for name, tensor in its.items()})
    for kind in ("weight", "bias"):
        tensors[f"{base.FINAL_NORM}.{kind}"] = found.take(f"norm.{kind}", dim)
    tied = not config.get("no_weight_tying", False)
    name = "output.word_embeddings.weight" if tied else "output.final_linear.weight"
    base.take_output(found, tensors, name, tied)
    encoding, arguments, learned = encoding_of(config, found, num_layers, heads, dim)
    tensors.update({f"decoder.encoding.{name}": tensor for name, tensor in learned.items()})
    fused = config.get("bias_gelu_fusion", False)  # which approximates by tanh
    return Imported(
        kind="layer files of gpt-neox",
        encoding=encoding,
        position_args=arguments,
        options={
            **base.PRE_NORM,
            **base.widths(dim),
            "decoder_norm_eps": config.number("layernorm_epsilon", 1e-5, float),
            "activation_fn": "gelu_accurate" if fused else "gelu",
            "decoder_parallel_residual": parallel,
            "decoder_layers": num_layers,
            "decoder_attention_heads": heads,
            "decoder_ffn_embed_dim": 4 * dim,
            "share_decoder_input_output_embed": tied,
            "max_target_positions": len(learned["weight"]) - 2 if encoding == "learned" else None,
        },
        tensors=tensors,
        length=config.number("seq_length"),
        dropped=found.finish(),
    )


def options_of(source):
    """{option: value} of the yaml files of the training, `-` in names as `_`."""
    files = [source.config] if source.config else sorted(source.path.glob("configs/*.yml"))
    if not files:
        raise ValueError(
            f"{source.path} has no configs/*.yml: name the yaml of the training by --config"
        )
    options = {}
    for file in files:
        try:
            content = yaml.safe_load(file.read_text("utf-8"))
        except (yaml.YAMLError, ValueError, OSError) as error:
            said = str(error).partition("\n")[0]
            raise ValueError(f"--config {file} cannot be read ({said})") from None
        if not isinstance(content, dict):
            raise ValueError(f"--config {file} is no dictionary of options")
        options.update({str(name).replace("-", "_"): value for name, value in content.items()})
    return options


def read(source, dim, parallel):
    """Weights of all files, by the part of the model that they are of: embedding, layer.0, ..."""
    layers = {}
    for path in sorted(source.path.iterdir()):
        if match := FILE.fullmatch(path.name):
            layers.setdefault(int(match[1]), {})[int(match[2])] = path
    tensors, blocks, ranks = {}, 0, {tuple(sorted(parts)) for parts in layers.values()}
    if ranks != {tuple(range(max(map(len, ranks))))}:
        raise ValueError(f"{source.path}: not every layer has a file of every process")
    for number, (_, paths) in enumerate(sorted(layers.items())):
        parts = [weights.of_file(paths[rank], source.trusted) for rank in sorted(paths)]
        where = "output"
        if number == 0:
            where = "embedding"
        elif "input_layernorm.weight" in parts[0]:
            where, blocks = f"layer.{blocks}", blocks + 1
        elif "norm.weight" in parts[0]:
            where = "norm"
            parts = [{name.removeprefix("norm."): x for name, x in part.items()} for part in parts]
        for name in parts[0]:
            its = [part.get(name) for part in parts]
            if not all(isinstance(x, torch.Tensor) and x.shape == its[0].shape for x in its):
                raise ValueError(f"{source.path}: its processes do not agree on {where}.{name}")
            if f"{where}.{name}" in tensors:
                raise ValueError(f"{source.path}: two layers have {where}.{name}")
            tensors[f"{where}.{name}"] = whole(name, its, dim, parallel)
    return weights.Weights(tensors, source.path)


def whole(name, parts, dim, parallel):
    """The tensor `name` of what each process has of it."""
    if len(parts) == 1:
        return parts[0]
    if name == "final_linear.weight":  # parts have all rows, or all columns, by an option
        return torch.cat(parts, dim=0 if parts[0].shape[-1] == dim else 1)
    if name in PARTS:
        return torch.cat(parts, dim=PARTS[name])
    stacked = torch.stack([part.float() for part in parts])
    # what all have whole drifts apart by rounding: gpt-neox itself takes the mean
    both = stacked.sum(0) if parallel and name in SUMMED else stacked.mean(0)
    return both.to(parts[0])


def encoding_of(config, found, num_layers, heads, dim):
    """(encoding, its options, {name: what it has learned})."""
    name = str(config.get("pos_emb", "learned"))
    if name == "none":
        return "nopos", {}, {}
    if name == "alibi":
        drop_known(found, "alibi_embed.slopes", torch.tensor(standard_slopes(heads)))
        return "alibi", {}, {}
    if name == "rotary":
        theta = config.number("rotary_emb_base", 10000, float)
        rotating = int(dim // heads * config.number("rotary_pct", 1.0, float))
        exponents = torch.arange(0, rotating, 2) / rotating
        drop_known(found, "rotary_emb.inv_freq", theta**-exponents)
        fraction = rotating / (dim // heads)
        return "rope", {"theta": repr(theta), "fraction": repr(fraction), "layout": "half"}, {}
    if name == "learned":
        rows = config.number("max_position_embeddings")
        table = found.take("embedding.position_embeddings.weight", rows, dim)
        return "learned", {}, {"weight": base.joined([table.new_zeros(2, dim), table])}
    if name == "rpe":
        buckets = config.number("rpe_num_buckets", 32)
        arguments = {"buckets": buckets, "max_distance": config.number("rpe_max_distance", 128)}
        table = of_layers(found, "weight", num_layers, (buckets, heads))
        if table.dim() > 2:
            raise ValueError(f"{found.source}: the layers have different tables of rpe")
        arguments = {key: str(value) for key, value in arguments.items()}
        return "t5", arguments, {"weight": table * (dim // heads) ** 0.5}
    if name in KERNELS:
        encoding, *kernel = KERNELS[name]
        return encoding, *kernel_of(found, *kernel, num_layers, (heads, 1, 1))
    raise ValueError(
        f"{config.source}: pos_emb is {name!r}, and known are none, learned, rotary, rpe, alibi, "
        + ", ".join(KERNELS)
    )


def kernel_of(found, kernel, name1, name2, num_layers, size):
    """(options, {name: tensor}) of a class of KERPLE's, with r1 and r2 as the forward clamps them.

    What is stored may be below, or negative.
    """
    largest = LARGEST if kernel is KerplePower else None
    r1 = of_layers(found, name1, num_layers, size, SMALLEST).flatten(-3)
    r2 = torch.ones_like(r1)
    if name2 is not None:
        r2 = of_layers(found, name2, num_layers, size, SMALLEST, largest).flatten(-3)
    r1, r2 = torch.broadcast_tensors(r1, r2)
    learned = {"raw_r1": inverse_softplus(r1), "raw_r2": kernel.unconstrain_r2(r2)}
    return {"per_layer": str(r1.dim() > 1).lower()}, learned


def of_layers(found, name, num_layers, size, smallest=None, largest=None):
    """A parameter of the encoding in float32, `size`; (layers, *size) where they differ.

    Layers share it and each has a copy; stages of a pipeline let theirs drift apart.
    """
    copies = [found.take(f"layer.{n}.attention.rpe.{name}", *size) for n in range(num_layers)]
    if smallest is not None:
        copies = [copy.clamp(smallest, largest) for copy in copies]
    same = all(torch.equal(copy, copies[0]) for copy in copies)
    return (copies[0] if same else torch.stack(copies)).float()


def drop_known(found, name, expected):
    """Drop constants of the encoding from all layers. ValueError where they are not `expected`.

    They may be rounded to half precision.
    """
    for its in [its for its in found.left if its.endswith(f".attention.{name}")]:
        if not torch.allclose(found.take(its, len(expected)).float(), expected, 0.01, 1e-6):
            raise ValueError(f"{found.source}: {its} is of other options than its configuration's")
        found.dropped[its] = "made anew"
