"""--user-dir in all the ways that people type it: our names must be there, or one sentence."""

import dataclasses
import re
import shutil

import pytest
from command import PLUGIN, ROOT, SIZE, TRAINING, fairseq, run

from nopos_plugin import positions
from nopos_plugin.cli.encodings import main as encodings

ARCH = "transformer_lm_bipe_alibi"
KNOWN = f"from fairseq.models import ARCH_MODEL_REGISTRY as r; print({ARCH!r} in r)"
IMPORT = (
    "from argparse import Namespace; from fairseq.utils import import_user_module; "
    "import_user_module(Namespace(user_dir={user_dir!r}));"
)


@pytest.mark.parametrize(
    "before, user_dir, cwd",
    [
        ("", str(PLUGIN), "/"),
        ("", f"{PLUGIN}/", "/"),
        ("", "nopos_plugin", ROOT),
        ("", "./nopos_plugin/", ROOT),
        ("import nopos_plugin;", str(PLUGIN), ROOT),
        (IMPORT.format(user_dir=str(PLUGIN)), f"{PLUGIN}/", "/"),
    ],
    ids=["absolute", "slash", "relative", "dot-relative", "imported-before", "twice"],
)
def test_user_dir_registers_our_architectures(before, user_dir, cwd):
    code, output = run("-c", f"{before}{IMPORT.format(user_dir=user_dir)}{KNOWN}", cwd=cwd)
    assert (code, output.split()[-1]) == (0, "True"), output


def test_importing_the_installed_package_is_enough(tmp_path):
    code, output = run("-c", f"import nopos_plugin; {KNOWN}", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert (code, output.split()[-1]) == (0, "True"), output


def test_a_second_copy_from_another_folder_is_refused(tmp_path):
    shutil.copytree(PLUGIN, tmp_path / "nopos_plugin")
    both = IMPORT.format(user_dir=str(PLUGIN)) + IMPORT.format(
        user_dir=str(tmp_path / "nopos_plugin")
    )
    code, output = run("-c", both)
    assert code == 1 and "not globally unique" in output


def test_the_repository_itself_as_user_dir_knows_no_architecture_of_ours():
    """What the README says that this mistake looks like."""
    code, output = fairseq("train", "data", "--arch", ARCH, user_dir=".", cwd=ROOT)
    assert code == 2 and f"invalid choice: '{ARCH}'" in output


def test_two_processes_train_together(data_bin, tmp_path):
    """Each process imports the plugin for itself; the first one logs."""
    script = tmp_path / "both.py"
    script.write_text(
        "import subprocess, sys\n"
        "command = [sys.executable, '-m', 'fairseq_cli.train', *sys.argv[1:]]\n"
        "both = [subprocess.Popen(command + ['--distributed-rank', rank]) for rank in '01']\n"
        "sys.exit(max(abs(each.wait(timeout=200)) for each in both))\n"
    )
    code, output = run(
        script,
        *(data_bin, "--user-dir", PLUGIN, "--arch", "transformer_lm_kerple_log", *SIZE, *TRAINING),
        *("--save-dir", tmp_path, "--distributed-world-size", "2", "--distributed-no-spawn"),
        *("--distributed-init-method", f"file://{tmp_path}/meeting", "--ddp-backend", "legacy_ddp"),
        *("--distributed-backend", "gloo"),
    )
    assert code == 0, output
    assert re.findall(r"training on (\d) devices", output) == ["2"]
    assert re.search(r"train \| epoch 001 .* num_updates \d+", output)
    assert (tmp_path / "checkpoint_last.pt").exists()


BROKEN = "raise ValueError('mutable default <class CommonConfig> for field common is not allowed')"


@pytest.mark.parametrize("body", [BROKEN, "import no_such_module_anywhere"])
def test_a_fairseq_that_cannot_import_is_named_with_the_one_to_install(body, tmp_path):
    (tmp_path / "fairseq.py").write_text(body)
    code, output = run("-c", "import nopos_plugin", PYTHONPATH=f"{tmp_path}:{ROOT}", cwd=tmp_path)
    last = output.strip().splitlines()[-1]
    assert code == 1 and "pip install fairseq-fixed==0.12.3.1" in last


def test_every_encoding_and_option_is_listed(capsys):
    encodings([])
    listed = capsys.readouterr().out
    for name in positions.names():
        assert re.search(rf"^{name}: \w", listed, re.MULTILINE)
        for field in dataclasses.fields(positions.get(name).Config):
            assert re.search(
                rf"^    {field.name}=.*  \(.*\) .*{re.escape(field.metadata['help'])}",
                listed,
                re.MULTILINE,
            )
    assert "rope: tokens, bipe_rope: segments" in listed


def test_every_command_is_installed():
    """Each module of cli/ with a `main` or the like is an entry point of setup.py."""
    setup = (ROOT / "setup.py").read_text("utf-8")
    commands = set(re.findall(r"nopos_plugin\.cli\.(\w+):", setup))
    modules = (PLUGIN / "cli").glob("*.py")
    runnable = {one.stem for one in modules if "argparse.ArgumentParser(" in one.read_text("utf-8")}
    assert commands == runnable and len(commands) >= 9


def test_a_new_encoding_is_one_file(data_bin, tmp_path):
    """Dropped into positions/, it is in the choices, the archs, the listing, and it trains."""
    shutil.copytree(PLUGIN, tmp_path / "nopos_plugin")
    (tmp_path / "nopos_plugin" / "positions" / "toy.py").write_text(
        '"""A toy: a penalty for every other distance."""\n'
        "from nopos_plugin.positions.base import PositionEncoding\n"
        "from nopos_plugin.positions.registry import register\n\n\n"
        '@register("toy")\n'
        "class Toy(PositionEncoding):\n"
        '    """A penalty for every other distance."""\n\n'
        "    def bias(self, head, distance, layer):\n"
        "        return -(head + 1.0) * (distance % 2)\n"
    )
    code, output = run("-m", "nopos_plugin.cli.encodings", "toy", cwd=tmp_path)
    assert code == 0 and "toy: A penalty for every other distance." in output
    code, output = fairseq(
        *("train", data_bin, "--arch", "transformer_lm_toy", *SIZE, *TRAINING),
        *("--save-dir", tmp_path),
        user_dir=tmp_path / "nopos_plugin",
        cwd=tmp_path,
    )
    assert code == 0 and "position encoding: toy (no options), 0 parameters" in output
