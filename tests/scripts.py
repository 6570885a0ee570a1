"""Scripts of examples, imported as they import each other."""

import sys
from contextlib import contextmanager


@contextmanager
def importable(monkeypatch, *folders):
    """What stands in `folders` can be imported by its name."""
    for one in folders:
        monkeypatch.syspath_prepend(str(one))
    before = set(sys.modules)
    yield
    own = {path.stem for one in folders for path in one.glob("*.py")}
    for name in own & (set(sys.modules) - before):
        del sys.modules[name]
