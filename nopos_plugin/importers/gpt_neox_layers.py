"""Folders of layer files as gpt-neox and DeepSpeed write them, KERPLE's releases among them.

A layer is a file for each model-parallel process: layer_02-model_00-model_states.pt.
"""

import re

import torch
import yaml

from nopos_plugin.importers import base, gpt_neox, weights
from nopos_plugin.importers.base import Config, Imported
from nopos_plugin.positions.kerple import KerpleLog, KerplePower, inverse_softplus

FILE = re.compile(r"layer_(\d+)-model_(\d+)-model_states\.pt")
# Along which dimension processes have parts of a tensor; what is of none here all have whole.
PARTS = {
    "word_embeddings.weight": 0,
    "final_linear.weight": 0,
    "attention.query_key_value.weight": 0,
    "attention.query_key_value.bias": 0,
    "mlp.dense_h_to_4h.weight": 0,
    "mlp.dense_h_to_4h.bias": 0,
    "attention.dense.weight": 1,
    "mlp.dense_4h_to_h.weight": 1,
    "attention.rpe.weight": 1,
    **{f"attention.rpe.{name}": 0 for name in ("bias_p", "bias_a", "wei_p", "wei_a")},
}
SMALLEST, LARGEST = 0.01, 2.0  # of a kernel's parameters, in the forward of the release


def recognises(folder):
    return any(FILE.fullmatch(path.name) for path in folder.iterdir())


def convert(source):
    """The Imported of the folder `source.path`, with the options of the training beside it."""
    config = Config(options_of(source), source.config or source.path)
    config.only(
        norm="layernorm",
        activation="gelu",
        apply_query_key_layer_scaling=False,
        gpt_j_tied=False,
        num_unique_layers=(),
        use_mup=False,
    )
    if "attention_config" in config and re.search("[a-z]+", str(config.get("attention_config"))):
        kinds = set(re.findall("[a-z_]+", str(config.get("attention_config")))) - {"all"}
        config.values["attention_config"] = "global" if kinds <= {"global"} else sorted(kinds)
        config.only(attention_config="global")
    dim, heads = config.number("hidden_size"), config.number("num_attention_heads")
    num_layers = config.number("num_layers")
    found = read(source)
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
    found.drop(r".*\.rotary_emb\.inv_freq", "made anew from theta")
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
            "decoder_parallel_residual": bool(config.get("gpt_j_residual", False)),
            "decoder_layers": num_layers,
            "decoder_attention_heads": heads,
            "decoder_ffn_embed_dim": 4 * dim,
            "share_decoder_input_output_embed": tied,
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
            raise ValueError(f"--config {file} cannot be read ({error})") from None
        if not isinstance(content, dict):
            raise ValueError(f"--config {file} is no dictionary of options")
        options.update({name.replace("-", "_"): value for name, value in content.items()})
    return options


def read(source):
    """Weights of all files, by the part of the model that they are of: embedding, layer.0, ..."""
    layers = {}
    for path in sorted(source.path.iterdir()):
        if match := FILE.fullmatch(path.name):
            layers.setdefault(int(match[1]), {})[int(match[2])] = path
    tensors, blocks, partitions = {}, 0, {len(parts) for parts in layers.values()}
    if len(partitions) > 1:
        raise ValueError(f"{source.path}: its layers have files of {sorted(partitions)} processes")
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
            tensors[f"{where}.{name}"] = whole(name, parts, source.path)
    return weights.Weights(tensors, source.path)


def whole(name, parts, folder):
    """The tensor `name` of what each process has of it."""
    if any(name not in part for part in parts):
        raise ValueError(f"{folder}: not every process has {name}")
    its = [part[name] for part in parts]
    if name in PARTS:
        return torch.cat(its, dim=PARTS[name])
    # what all have whole drifts apart by rounding: gpt-neox itself takes the mean
    return its[0] if len(its) == 1 else torch.stack([x.float() for x in its]).mean(0).to(its[0])


def encoding_of(config, found, num_layers, heads, dim):
    """(encoding, its options, {name: what it has learned})."""
    name = config.get("pos_emb", "learned")
    if name in ("none", "alibi"):
        return {"none": "nopos"}.get(name, name), {}, {}
    if name == "rotary":
        theta, fraction = config.get("rotary_emb_base", 10000), config.get("rotary_pct", 1.0)
        arguments = {"theta": float(theta), "fraction": float(fraction), "layout": "half"}
        return "rope", {key: str(value) for key, value in arguments.items()}, {}
    if name == "learned":
        table = found.take("embedding.position_embeddings.weight")
        return "learned", {}, {"weight": base.joined([table.new_zeros(2, dim), table])}
    if name == "rpe":
        buckets = config.number("rpe_num_buckets", 32)
        arguments = {"buckets": buckets, "max_distance": config.number("rpe_max_distance", 128)}
        table = of_layers(found, "weight", num_layers, (buckets, heads))
        if table.dim() > 2:
            raise ValueError(f"{config.source}: the layers have different tables of rpe")
        scale = (dim // heads) ** 0.5
        return (
            "t5",
            {key: str(value) for key, value in arguments.items()},
            {"weight": table * scale},
        )
    kernels = {"kerple_log": ("kerple_log", "bias_p", "bias_a")}
    for kernel in ("kerple_power_ap_", "kerple_power_original"):
        kernels[kernel] = ("kerple_power", "bias_a", "bias_p")
    if name not in kernels:
        raise ValueError(
            f"{config.source}: pos_emb is {name!r}, and known are none, learned, rotary, rpe, "
            f"alibi, {', '.join(kernels)}"
        )
    encoding, *names = kernels[name]
    size = (heads, 1, 1)
    # as the forward clamps them: what is stored may be below, or negative
    r1 = of_layers(found, names[0], num_layers, size).flatten(-3).clamp(min=SMALLEST)
    if name == "kerple_power_original":
        r2 = torch.ones_like(r1)
    else:
        r2 = of_layers(found, names[1], num_layers, size).flatten(-3).clamp(min=SMALLEST)
    if encoding == "kerple_power":
        r2 = r2.clamp(max=LARGEST)
    unconstrain = {"kerple_log": KerpleLog, "kerple_power": KerplePower}[encoding].unconstrain_r2
    per_layer = max(r1.dim(), r2.dim()) > 1
    r1, r2 = (r.expand(num_layers, heads) if per_layer else r for r in (r1, r2))
    learned = {"raw_r1": inverse_softplus(r1), "raw_r2": unconstrain(r2)}
    return encoding, {"per_layer": str(per_layer).lower()}, learned


def of_layers(found, name, num_layers, size):
    """A parameter of the encoding in float32, `size`; (layers, *size) where they differ.

    Layers share it and each has a copy; stages of a pipeline let theirs drift apart.
    """
    copies = [
        found.take(f"layer.{n}.attention.rpe.{name}", *size).float() for n in range(num_layers)
    ]
    same = all(torch.equal(copy, copies[0]) for copy in copies)
    return copies[0] if same else torch.stack(copies)
