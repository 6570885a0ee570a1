"""Who may import whom inside nopos_plugin, read from the sources."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "nopos_plugin"
# Package or module -> what of nopos_plugin it may import, itself aside. Two wings: the model's
# (positions, attention, models, importers, exporters) and the data's (evaluation, data, tasks,
# criterions, prepare, plots).
INSIDE = {
    "__init__": {"engine", "criterions", "models", "tasks"},
    "engine": {"data"},
    "discover": set(),
    "provenance": set(),
    "positions": {"discover"},
    "attention": {"positions", "discover"},
    "models": {"attention", "positions", "discover"},
    "importers": {"models", "attention", "positions", "discover"},
    "exporters": {"importers", "models", "attention", "positions", "discover"},
    "evaluation": {"discover"},
    "data": {"evaluation", "provenance", "discover"},
    "tasks": {"data", "evaluation", "prepare", "discover"},  # prepare: how a data-bin is decoded
    "criterions": {"evaluation", "discover"},
    "prepare": {"provenance", "discover"},
    "plots": set(),
}
INSIDE["benchmark"] = set(INSIDE)  # above both wings; so is cli, which may import benchmark too
# What each may import from outside, the standard library aside; absent: anything.
OUTSIDE = {
    "__init__": {"fairseq"},
    "engine": {"fairseq", "hydra", "numpy", "torch"},
    "discover": set(),
    "provenance": {"fairseq", "torch"},
    "positions": {"torch"},
    "attention": {"torch"},
    "models": {"torch", "fairseq", "omegaconf"},
    "evaluation": {"torch"},
    "plots": {"matplotlib", "numpy"},
}


def imported(source, package):
    """Full names of all that `source`, in `package`, imports, inside of functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level]
            base = ".".join(above * bool(node.level) + [node.module] * bool(node.module))
            yield from (f"{base}.{alias.name}" for alias in node.names)


def violations(source, unit, package):
    """What `source` of the package or module `unit` imports and may not."""
    for name in imported(source, package):
        top, *rest = name.split(".")
        if top != "nopos_plugin":
            allowed = OUTSIDE.get(unit)
            if allowed is not None and top not in allowed and top not in sys.stdlib_module_names:
                yield name
            if top == "importlib" and unit != "discover":
                yield name  # an import that this test cannot see
        elif unit != "cli" and (not rest or rest[0] != unit and rest[0] not in INSIDE[unit]):
            yield name


def sources():
    """(unit, package, path) of every file."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield parts[0], ".".join(("nopos_plugin", *parts[:-1])), path


@pytest.mark.parametrize("unit", sorted({unit for unit, _, _ in sources()}))
def test_arrows(unit):
    assert unit == "cli" or unit in INSIDE, f"{unit} is new: say in INSIDE what it may import"
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for its_unit, package, path in sources()
        if its_unit == unit
        for name in violations(path.read_text("utf-8"), unit, package)
    ]
    assert found == []


def test_every_package_of_the_model_is_read():
    assert {unit for unit, _, _ in sources()} >= {
        "positions",
        "attention",
        "models",
        "cli",
        "engine",
    }


@pytest.mark.parametrize(
    "unit, source, found",
    [
        ("positions", "import fairseq.modules", ["fairseq.modules"]),
        (
            "positions",
            "def f():\n    from nopos_plugin import attention",
            ["nopos_plugin.attention"],
        ),
        ("positions", "from ..models import decoder", ["nopos_plugin.models.decoder"]),
        ("positions", "from .base import Shape\nfrom . import rope\nimport torch, math", []),
        ("positions", "import nopos_plugin", ["nopos_plugin"]),
        ("attention", "import importlib", ["importlib"]),
        ("models", "from nopos_plugin.data.pose import x", ["nopos_plugin.data.pose.x"]),
        ("tasks", "from nopos_plugin.models import x", ["nopos_plugin.models.x"]),
        ("criterions", "from nopos_plugin.positions import x", ["nopos_plugin.positions.x"]),
        ("plots", "import torch", ["torch"]),
        ("cli", "from nopos_plugin.models import x\nimport fairseq", []),
        ("benchmark", "from nopos_plugin.tasks import x\nfrom nopos_plugin.models import x", []),
        ("benchmark", "from nopos_plugin.cli.x import x", ["nopos_plugin.cli.x.x"]),
        ("models", "from nopos_plugin import benchmark", ["nopos_plugin.benchmark"]),
    ],
)
def test_violations_are_seen(unit, source, found):
    assert list(violations(source, unit, f"nopos_plugin.{unit}")) == found
