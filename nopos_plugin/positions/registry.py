"""Names of the encodings. (A registry kind of fairseq's own breaks its hydra composition.)"""

from nopos_plugin.discover import Registry
from nopos_plugin.positions.options import build_config

ENCODINGS = Registry("encoding", "--position-encoding")
register, names, get = ENCODINGS.register, ENCODINGS.names, ENCODINGS.get


def build(name, arguments, shape):
    """The encoding `name` with its options from `arguments` (dict of text by option name)."""
    encoding = get(name)
    return encoding(build_config(encoding, arguments), shape)
