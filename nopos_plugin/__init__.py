"""Position encodings for fairseq's language models: importing the package registers all of it."""

import platform

try:
    import fairseq
except Exception as error:  # on Python >= 3.11 stock fairseq raises ValueError from a dataclass
    raise ImportError(
        "nopos_plugin needs fairseq, which cannot be imported here "
        f"({type(error).__name__}: {error}). Python is {platform.python_version()}. "
        "From Python 3.11 on: pip uninstall fairseq; pip install fairseq-fixed==0.12.3.1. "
        "Before: pip install fairseq==0.12.2"
    ) from error

from nopos_plugin import engine

engine.repair()

from nopos_plugin import criterions, models, tasks  # noqa: E402

__all__ = ["criterions", "models", "tasks"]
