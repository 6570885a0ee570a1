"""Tasks by name, with published files of their own; what nopos-make-task is told and writes."""

import json

from nopos_plugin.data import reasoning

SCAN = [
    "IN: walk after turn right OUT: I_TURN_RIGHT I_WALK",
    "IN: run thrice OUT: I_RUN I_RUN I_RUN",
    "IN: look around left twice and look around left twice OUT: "
    + " ".join(["I_TURN_LEFT I_LOOK"] * 16),
]
PCFG = [
    ("reverse A1 B2 C3", "C3 B2 A1"),
    ("swap_first_last append A1 B2 , C3 D4", "D4 B2 C3 A1"),
    ("copy " * 9 + "Z20", "Z20"),
]
GENERATED = [
    *("addition", "summation", "polynomial", "sorting/single", "sorting/multi", "parity"),
    *("lego/plain", "lego/permuted"),
    *(f"copy/{variant}" for variant in ("rsc", "rsc2x", "rdc", "cmc", "cmc2x")),
    *(f"reverse/{variant}" for variant in ("mc", "mc2x", "mcrv")),
]
# some of the sizes that nopos-make-task takes
SPLITS = ("--train-size", "300", "--valid-size", "40", "--test-size", "40")


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def scan_file(folder, lines=SCAN):
    path = folder / "tasks.txt"
    path.write_text("".join(line + "\n" for line in lines))
    return path


def pcfg_file(folder, pairs=PCFG, name="test"):
    for suffix, side in (("src", 0), ("tgt", 1)):
        (folder / f"{name}.{suffix}").write_text("".join(pair[side] + "\n" for pair in pairs))
    return folder / f"{name}.src"


def build(name, folder=None, **options):
    """The task `name`, or `name/variant`; folder: where those that need files may have them."""
    task, _, variant = name.partition("/")
    if task in ("scan", "pcfg"):
        options["files"] = [{"scan": scan_file, "pcfg": pcfg_file}[task](folder)]
    return reasoning.build(task, variant=variant or None, **options)
