"""Import every module of a package, so that a new file registers itself by a name."""

import importlib
import pkgutil


def import_submodules(name, path):
    """Import the modules of package `name` found on its `__path__`, in sorted order."""
    for module in sorted(info.name for info in pkgutil.iter_modules(path)):
        importlib.import_module(f"{name}.{module}")


class Registry:
    """Classes by the names that people type. kind: what they are; typed: what stands before one."""

    def __init__(self, kind, typed):
        self.kind, self.typed = kind, typed
        self.classes: dict[str, type] = {}

    def register(self, name):
        """Class decorator: make a class known by `name`, which is then its attribute `name`."""

        def add(made):
            if name in self.classes:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            made.name = name
            self.classes[name] = made
            return made

        return add

    def names(self):
        return sorted(self.classes)

    def get(self, name):
        """The class registered as `name`; ValueError lists the known names."""
        if name not in self.classes:
            known = ", ".join(self.names())
            raise ValueError(f"{self.typed} {name}: unknown {self.kind}; known are {known}")
        return self.classes[name]
