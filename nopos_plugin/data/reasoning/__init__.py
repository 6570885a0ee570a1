"""Reasoning tasks that are trained on short examples and tested on long ones: one file each.

Kazemnejad et al., 2023 (arXiv 2305.19466). Texts are those of McGill-NLP/length-generalization
@40f8a44, character by character; what is drawn, and in which order, is our own.
"""

from nopos_plugin.data.reasoning.base import Example, Task
from nopos_plugin.data.reasoning.registry import build, get, names, register
from nopos_plugin.discover import import_submodules

import_submodules(__name__, __path__)

__all__ = ["Example", "Task", "build", "get", "names", "register"]
