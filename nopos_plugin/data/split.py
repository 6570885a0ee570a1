"""A split of a data-bin as it is evaluated, and what results say of it."""

import os

from nopos_plugin.data.load import load_text, split_path, windowed
from nopos_plugin.evaluation import units
from nopos_plugin.provenance import digest


class Split:
    """The split `name` of the data-bin `data`, for a language modeling `task` of fairseq's.

    documents, opening, opener: as of `Text.documents` and of WindowedDataset.
    Raises ValueError if it is not there, or is empty.
    """

    def __init__(self, data, name, task, documents="none", opening="document", opener=None):
        self.data, self.name, self.task = data, name, task
        self.documents, self.opening, self.opener = documents, opening, opener
        self.text = load_text(data, name, task.source_dictionary)
        self.folder = os.path.dirname(split_path(data, name))
        self.sha256 = self.digest()

    def __len__(self):
        """Tokens."""
        return len(self.text)

    def digest(self):
        """SHA-256 of its files and of the dictionary."""
        files = [split_path(self.data, self.name) + end for end in (".idx", ".bin")]
        dictionary = os.path.join(self.folder, "dict.txt")
        return digest(*filter(os.path.exists, files), dictionary)

    def described(self):
        return {
            "data": self.data,
            "data_sha256": self.sha256,
            "split": self.name,
            "documents": self.documents,
            "opening": self.opening,
            **self.unusual(),
        }

    def unusual(self):
        """The symbol that opens a text, where that is not `</s>`."""
        dictionary = self.task.source_dictionary
        usual = self.opener in (None, dictionary.eos())
        return {} if usual else {"opener": dictionary[self.opener]}

    def windows(self, schedule):
        """The WindowedDataset by `schedule`. Raises ValueError if it has no window."""
        made = windowed(self.text, self.task, schedule, self.documents, self.opening, self.opener)
        if not len(made):
            raise ValueError(
                f"{self.name} has {len(self):,} tokens, and these windows need {schedule.least:,}: "
                "name smaller --lengths, or --targets that end earlier"
            )
        return made

    def units(self, tokens_are=None):
        """Its words and bytes, None for what is not known.

        tokens_are: one of units.KINDS, for where no manifest.json says it.
        """
        known = units.from_manifest(self.folder, self.name, len(self))
        if known is not None:
            return known
        if tokens_are is None:
            return {"words": None, "bytes": None}
        dictionary = self.task.source_dictionary
        counts = self.text.counts(len(dictionary)).tolist()
        lines = int((self.text.sizes > 1).sum())
        return units.from_tokens(tokens_are, dictionary.symbols, counts, lines)
