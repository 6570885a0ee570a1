"""RoPE as config.json of a Hugging Face folder says it, its laws for longer inputs among it."""

import math

from nopos_plugin.importers.base import Config
from nopos_plugin.positions.rope_scaling import longrope_magnitude, yarn_magnitude

# What config.json may call a law of scaling, where it means one law only.
LAWS = {
    "default": "none",
    "linear": "linear",
    "vanilla_ntk": "ntk",
    "dynamic": "dynamic_ntk",
    "yarn": "yarn",
    "llama3": "llama3",
    "longrope": "longrope",
}
# What it says of them: the length before scaling, bounds by our names, and what is only looked at.
ORIGINAL, MOVED = "original_max_position_embeddings", ("yarn", "llama3", "longrope")
TURNS = {
    "yarn": {"beta_fast": "fast", "beta_slow": "slow"},
    "llama3": {"high_freq_factor": "fast", "low_freq_factor": "slow"},
}
OTHERS = {
    "yarn": ("attention_factor", "mscale", "mscale_all_dim", "truncate"),
    "longrope": ("attention_factor", "short_factor", "long_factor"),
}


def said_of(config):
    """What config.json says of RoPE besides its base; transformers 5 reads one of two names."""
    said = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if not isinstance(said, dict):
        raise ValueError(f"{config.source}: rope_scaling is {said!r}, and should be a dictionary")
    return Config(said, f"{config.source}, rope_scaling")


def options(config, source, theta, others=()):
    """Options of RoPE that config.json says, {option: text}, as transformers 5 understands it.

    theta: the base, where it does not stand beside the law; others: names there that the caller
    reads. Raises ValueError where two laws go by what it says, or it is none that we have.
    """
    said = said_of(config)
    theta = said.number("rope_theta", theta, float)
    if "scaling" in source.position_args:
        return {"theta": repr(theta)}  # it is said
    law = law_of(config, said)
    refuse_unknown(said, law, others)
    if law == "none":
        return {"theta": repr(theta)}
    longest = length = config.number("max_position_embeddings")
    if law in MOVED:
        length = config.number(ORIGINAL, said.number(ORIGINAL, longest))
    factor = said.number("factor", longest / length if law in OTHERS else None, float)
    arguments = {"theta": repr(theta), "scaling": law, "factor": repr(factor)}
    if law not in ("linear", "ntk"):
        arguments["original_length"] = str(length)
    for name, option in TURNS.get(law, {}).items():
        if name in said or law == "llama3":  # yarn's have defaults
            arguments[option] = repr(said.number(name, kind=float))
    if law == "yarn":
        said.only(truncate=True)
        refuse_other_magnitude(said, yarn_magnitude(factor))
    if law == "longrope":
        for kind in ("short", "long"):
            arguments[f"{kind}_factors"] = numbers(said, f"{kind}_factor")
        refuse_other_magnitude(said, longrope_magnitude(factor, length))
    return arguments


def law_of(config, said):
    """What `scaling` is to be."""
    name = said.get("rope_type", said.get("type", "default"))
    if config.get("rpe_type") == "bipe_rope" and name not in ("default", "linear"):
        raise ValueError(
            f"{config.source}: rope_scaling of the type {name!r} counts tokens, and this plugin "
            "counts segments for bipe_rope: name the law by --position-args scaling=..."
        )
    if name == "yarn" and "rope_type" not in said:
        raise ValueError(
            f"{config.source}: rope_scaling of the type 'yarn' is YaRN's law, or that of PoSE's "
            "released models: say --position-args scaling=yarn,factor=...,original_length=... or "
            "scaling=yarn_pose,..."
        )
    if name not in LAWS:
        raise ValueError(
            f"{config.source}: rope_scaling of the type {name!r}; known are {', '.join(LAWS)}"
        )
    return LAWS[name]


def refuse_unknown(said, law, others):
    """Raise ValueError for what transformers does not know of a law: it might be another."""
    known = {"rope_type", "type", "rope_theta", *TURNS.get(law, ()), *OTHERS.get(law, ()), *others}
    known |= {"factor"} if law != "none" else set()
    known |= {ORIGINAL} if law in MOVED else set()
    unknown = sorted(name for name in said.values if name in said and name not in known)
    if unknown:
        raise ValueError(
            f"{said.source}: it is not known what {', '.join(unknown)} would do: name the law by "
            "--position-args scaling=..., or scaling=none"
        )


def numbers(said, name):
    """A list of numbers, as an option says it."""
    given = said.get(name)
    if not isinstance(given, list) or not all(isinstance(x, (int, float)) for x in given):
        raise ValueError(f"{said.source}: {name} is {given!r}, and should be a list of numbers")
    return "|".join(repr(float(x)) for x in given)


def refuse_other_magnitude(said, own):
    """Raise ValueError if cos and sin are multiplied by anything but `own`."""
    given = said.get("attention_factor")
    if given is not None and not math.isclose(said.number("attention_factor", kind=float), own):
        raise ValueError(f"{said.source}: attention_factor is {given}; this plugin has {own}")
    if given is None and "mscale" in said and "mscale_all_dim" in said:
        raise ValueError(
            f"{said.source}: mscale and mscale_all_dim make a magnitude that this plugin has not"
        )
