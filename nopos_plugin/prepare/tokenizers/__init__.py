"""Tokenizers by name: `build(name, **options)`. One file a tokenizer."""

from nopos_plugin.discover import import_submodules
from nopos_plugin.prepare.tokenizers.registry import add_options, build, get, names

import_submodules(__name__, __path__)
