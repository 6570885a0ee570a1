"""Sources as nopos-import makes them checkpoints: what the command writes, loaded as any other."""

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import tokenizers
import torch
from fairseq.data import Dictionary
from torch import nn

from nopos_plugin.cli import checkpoint, import_model
from nopos_plugin.prepare.tokenizers.tokenizer_json import symbol_of


@dataclass
class Model:
    """An imported model: its folder, `model` in evaluation mode and float32, and `dictionary`.

    rows: fairseq's index of each of the source's ids, a list; None if they are the same.
    """

    folder: Path
    model: nn.Module
    dictionary: Dictionary
    rows: list[int] | None

    @property
    def path(self):
        """The checkpoint."""
        return self.folder / "checkpoint.pt"

    @property
    def flags(self):
        """The words of flags.txt."""
        return (self.folder / "flags.txt").read_text("utf-8").split()

    @property
    def state(self):
        """All that is in the checkpoint."""
        return torch.load(self.path, "cpu", weights_only=False)

    def tokens(self, ids):
        """`ids` of the source (...) as fairseq's indices."""
        return ids if self.rows is None else torch.tensor(self.rows)[ids]

    def logits(self, ids):
        """(B, T, rows) in the order of the source's ids, for `ids` (B, T) of the source."""
        with torch.no_grad():
            made = self.model(self.tokens(ids))[0]
        return made if self.rows is None else made[..., self.rows]


def command(source, out, *flags):
    """(exit status, stdout, stderr) of nopos-import SOURCE --out OUT FLAGS, in this process."""
    said, wrong = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
        status = import_model.main([str(source), "--out", str(out), *map(str, flags)])
    return status, said.getvalue(), wrong.getvalue()


def imported(source, tmp_path, *flags):
    """The Model that nopos-import makes of `source`, in the new folder tmp_path/imported."""
    folder = tmp_path / "imported"
    status, _, wrong = command(source, folder, *flags)
    assert status == 0, wrong
    return loaded(folder)


def loaded(folder):
    """The Model in a `folder` of nopos-import's, read as nopos-evaluate reads checkpoints."""
    options = SimpleNamespace(
        user_dir=None, dtype="float32", device="cpu", position_args=None, model_overrides={}
    )
    made = checkpoint.Checkpoint(str(folder / "checkpoint.pt"), str(folder), options)
    dictionary = made.task.source_dictionary
    return Model(folder, made.model, dictionary, rows(folder / "tokenizer.json", dictionary))


def rows(file, dictionary):
    """Index of the piece of each id of a tokenizer.json, by its name; None if there is none."""
    if not file.is_file():
        return None
    pieces = tokenizers.Tokenizer.from_file(str(file)).get_vocab()
    found = [dictionary.indices[symbol_of(piece)] for piece in sorted(pieces, key=pieces.get)]
    assert sorted(pieces.values()) == list(range(len(found)))
    return found


def refusal(source, tmp_path, *flags):
    """The sentence of nopos-import about `source`, with exit status 1 and nothing written."""
    out = tmp_path / "refused"
    status, said, wrong = command(source, out, *flags)
    assert (status, said) == (1, ""), wrong
    assert not list(tmp_path.glob("refused*"))
    assert wrong.startswith("nopos-import: ") and wrong.count("\n") == 1, wrong
    return wrong


def manifest(folder):
    """What manifest.json says of the import."""
    return json.loads((folder / "manifest.json").read_text("utf-8"))["imported"]
