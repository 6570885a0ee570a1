"""Names of the encodings. (A registry kind of fairseq's own breaks its hydra composition.)"""

from nopos_plugin.positions.options import build_config

_ENCODINGS: dict[str, type] = {}


def register(name):
    """Class decorator: make a `PositionEncoding` known as `--position-encoding name`."""

    def add(encoding):
        if name in _ENCODINGS:
            raise ValueError(f"position encoding {name!r} is registered twice")
        encoding.name = name
        _ENCODINGS[name] = encoding
        return encoding

    return add


def names():
    return sorted(_ENCODINGS)


def get(name):
    """The class registered as `name`; ValueError lists the known names."""
    if name not in _ENCODINGS:
        known = ", ".join(names())
        raise ValueError(f"--position-encoding {name}: unknown encoding; known are {known}")
    return _ENCODINGS[name]


def build(name, arguments, shape):
    """The encoding `name` with its options from `arguments` (dict of text by option name)."""
    encoding = get(name)
    return encoding(build_config(encoding, arguments), shape)
