"""Text to the indices of a data-bin's dictionary and back, by the tokenizer that made it."""

from pathlib import Path

from fairseq.data import Dictionary

from nopos_plugin.prepare import manifest
from nopos_plugin.prepare.tokenizers.base import SPECIAL, UNKNOWN, Tokenizer
from nopos_plugin.prepare.tokenizers.registry import build, flag, get


class Coder:
    """`tokenizer` over fairseq's `dictionary`. Raises ValueError if they do not go together."""

    def __init__(self, tokenizer: Tokenizer, dictionary: Dictionary):
        self.tokenizer, self.dictionary = tokenizer, dictionary
        symbols = tokenizer.symbols
        if symbols is not None and symbols != dictionary.symbols[len(SPECIAL) :][: len(symbols)]:
            raise ValueError(
                f"--tokenizer {tokenizer.name}: the dictionary of the checkpoint is not its own"
            )

    def encode(self, text: str) -> list[int]:
        """No `</s>` behind them; a word that the dictionary has not is <unk>."""
        if self.tokenizer.symbols is not None:
            return self.tokenizer.encode([text])[0].tolist()
        indices = self.dictionary.indices
        return [indices.get(word, UNKNOWN) for part in self.tokenizer.split(text) for word in part]

    def decode(self, indices: list[int]) -> str:
        """fairseq's own four symbols are left out."""
        return self.tokenizer.decode(
            [self.dictionary.symbols[index] for index in indices if index >= len(SPECIAL)]
        )


def of_data_bin(folder: str, name: str | None = None, **given) -> Tokenizer:
    """The tokenizer that made the data-bin in `folder`, or the one called `name`.

    given: its options, and None for those that are not. Raises ValueError if no manifest.json says
    what made it and `name` is None, for files that are missing or others, and for options that it
    was not made with.
    """
    try:
        described = manifest.read(folder).get("tokenizer", {})
    except ValueError:
        if name is None:
            raise
        described = {}
    if name is not None and described.get("name") != name:
        return build(name, **given)
    if "name" not in described:
        raise ValueError(f"{Path(folder, manifest.NAME)} names no tokenizer")
    name = described["name"]
    kept = {option: described[option] for option in get(name).options() if option in described}
    typed = {option: value for option, value in given.items() if value is not None}
    for option, value in typed.items():
        if kept.get(option, value) != value:
            raise ValueError(f"{flag(option)}: {folder} was made with {kept[option]}; leave it out")
    if described.get("files"):
        # what lies in the folder itself, as an imported model's does, need not be named
        beside = [Path(folder, file["name"]) for file in described["files"]]
        if all(path.is_file() for path in beside):
            of_files = (option for option in get(name).options() if option not in described)
            typed = {**dict(zip(of_files, beside, strict=False)), **typed}
    made = build(name, **{**kept, **typed})
    expected = [file["sha256"] for file in described.get("files", [])]
    for path, sha256 in zip(made.files(), expected, strict=True):
        if manifest.described(path)["sha256"] != sha256:
            raise ValueError(f"{path} is not the file that {folder} was made with")
    return made
