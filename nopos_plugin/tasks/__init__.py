"""The tasks, registered with fairseq by importing this package."""

from nopos_plugin.discover import import_submodules

import_submodules(__name__, __path__)
