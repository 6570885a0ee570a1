"""Import every module of a package, so that a new file registers itself."""

import importlib
import pkgutil


def import_submodules(name, path):
    """Import the modules of package `name` found on its `__path__`, in sorted order."""
    for module in sorted(info.name for info in pkgutil.iter_modules(path)):
        importlib.import_module(f"{name}.{module}")
