"""A text in windows: a dataset without state, so that no worker, batch or shard can change it."""

from bisect import bisect_right

import numpy as np
import torch
from fairseq.data import FairseqDataset

from nopos_plugin.data.collate import collate

OPENINGS = ("document", "window")


class WindowedDataset(FairseqDataset):
    """Window i of the documents of `text`, by the `schedule`.

    bounds: where documents begin, and the end of the last, as `Text.documents` gives them.
    opening: the input starts with `opener` in the first window of each document, and in later ones
        with the token before the window (document); or with it in every window (window).
    opener: `</s>`, unless said.
    dictionary: of the input; what the `targets` dictionary has not, is unknown in the target.
    bos: a token before all that, in every window, as of --add-bos-token; or None.

    The target is `pad` where a window only gives context, so that any criterion scores the rest.
    """

    def __init__(
        self,
        text,
        bounds,
        schedule,
        dictionary,
        targets,
        opening="document",
        opener=None,
        bos=None,
    ):
        self.text, self.bounds, self.schedule = text, bounds, schedule
        self.dictionary, self.targets = dictionary, targets
        self.opening, self.bos = opening, bos
        self.opener = dictionary.eos() if opener is None else opener
        counts = [schedule.count(int(length)) for length in np.diff(bounds)]
        self.first_window = np.insert(np.cumsum(counts, dtype=np.int64), 0, 0)

    def __len__(self):
        return int(self.first_window[-1])

    def window(self, index):
        """The number of the document's first target, and its Window, counted from there."""
        document = bisect_right(self.first_window, index) - 1
        begin, end = (int(x) for x in self.bounds[document : document + 2])
        return begin, self.schedule.at(end - begin, index - int(self.first_window[document]))

    def scored(self, index):
        """The range of targets that window `index` scores, numbers in the text."""
        begin, window = self.window(index)
        return begin + window.scored, begin + window.stop

    def __getitem__(self, index):
        """Raises ValueError for a pad among the targets, which no criterion would score."""
        begin, window = self.window(index)
        opened = self.opening == "window" or window.start == 0
        tokens = self.text.tokens(begin + window.start - (not opened), begin + window.stop)
        if opened:
            tokens = torch.cat([torch.tensor([self.opener]), tokens])
        source, target, pad = tokens[:-1], tokens[1:].clone(), self.targets.pad()
        scored = target[window.scored - window.start :]
        if (scored == pad).any():
            place = begin + window.scored + int((scored == pad).int().argmax())
            raise ValueError(f"token {place} of the text is a pad (<pad>), which has no loss")
        target[target >= len(self.targets)] = self.targets.unk()
        target[: window.scored - window.start] = pad
        if self.bos is not None:
            source = torch.cat([torch.tensor([self.bos]), source])
            target = torch.cat([torch.tensor([pad]), target])
        return {"id": index, "source": source, "target": target}

    def collater(self, samples):
        """A batch; `ntokens` are the scored ones."""
        return collate(samples, self.dictionary.pad())

    def num_tokens(self, index):
        """Of a forward, context included: what --max-tokens counts."""
        _, window = self.window(index)
        return window.stop - window.start + (self.bos is not None)

    def longest(self):
        """Tokens of the longest forward."""
        return max(map(self.num_tokens, range(len(self))))

    def num_tokens_vec(self, indices):
        return np.array([self.num_tokens(index) for index in indices], dtype=np.int64)

    def size(self, index):
        return self.num_tokens(index)

    def ordered_indices(self):
        """The longest first, so that a batch has windows of one length and what is too large for
        the memory shows at once."""
        sizes = self.num_tokens_vec(range(len(self)))
        return np.argsort(-sizes, kind="stable")
