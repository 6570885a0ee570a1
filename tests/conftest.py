import os
import random
import shutil
import sys
from pathlib import Path

import pytest
import torch
from command import run, train

import nopos_plugin  # noqa: F401  (registers everything, whatever a test imports)

# fairseq's, of which pip brings a build for GPUs; transformers imports it wherever it is installed
sys.modules.setdefault("torchaudio", None)
# Models this small only wait for a second thread; the other cores run other tests.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "dogs", "."]
VALID_TOKENS = 957


@pytest.fixture(scope="session")
def data_bin(tmp_path_factory):
    """A data-bin of random sentences, blank lines among them; its valid split has VALID_TOKENS."""
    folder = tmp_path_factory.mktemp("data")
    draw = random.Random(0)
    for split, lines in (("train", 400), ("valid", 60)):
        text = [" ".join(draw.choices(WORDS, k=draw.randint(0, 30))) for _ in range(lines)]
        (folder / split).write_text("\n".join(text) + "\n")
    code, output = run(
        *("-m", "fairseq_cli.preprocess", "--only-source", "--workers", "1"),
        *("--trainpref", folder / "train", "--validpref", folder / "valid"),
        *("--destdir", folder / "bin"),
    )
    assert code == 0, output
    return folder / "bin"


@pytest.fixture(scope="session")
def checkpoints(data_bin, tmp_path_factory):
    """checkpoints(encoding): the best checkpoint of a tiny model, trained once a session."""
    folder, made = tmp_path_factory.mktemp("checkpoints"), {}

    def checkpoint(encoding) -> Path:
        if encoding not in made:
            train(data_bin, f"transformer_lm_{encoding}", folder / encoding)
            made[encoding] = folder / encoding / "checkpoint_best.pt"
        return made[encoding]

    return checkpoint


@pytest.fixture(scope="session")
def parity(tmp_path_factory):
    """A data-bin of parity, trained on 2 and 3 bits, tested with 4."""
    from reasoning import SPLITS

    from nopos_plugin.cli.make_task import main as make_task

    folder = tmp_path_factory.mktemp("parity") / "bin"
    lengths = ("--train-lengths", "2:3", "--test-lengths", "4:4")
    assert make_task(["parity", "--out", str(folder), *lengths, *SPLITS]) == 0
    return folder


@pytest.fixture(scope="session")
def saved_llama(tmp_path_factory):
    from hugging_face import llama, saved

    return saved(tmp_path_factory.mktemp("llama"), llama())[0]


@pytest.fixture
def plain_llama(saved_llama, tmp_path):
    """A folder of a small LLaMA, as transformers saves it, which a test may change."""
    return Path(shutil.copytree(saved_llama, tmp_path / "plain"))


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
