"""fairseq's language modeling, whose subsets may be read in windows."""

from dataclasses import dataclass, field

from fairseq.dataclass import ChoiceEnum
from fairseq.tasks import register_task
from fairseq.tasks.language_modeling import LanguageModelingConfig, LanguageModelingTask

from nopos_plugin.data.load import load_text, windowed
from nopos_plugin.data.text import BOUNDARIES
from nopos_plugin.data.windowed import OPENINGS, WindowedDataset
from nopos_plugin.evaluation.windows import Sliding


@dataclass
class WindowedLanguageModelingConfig(LanguageModelingConfig):
    documents: ChoiceEnum(BOUNDARIES) = field(
        default="none",
        metadata={
            "help": "what no window of SPLIT@WINDOW:STRIDE crosses: nothing, or the end of a "
            "line, or blank lines"
        },
    )
    opening: ChoiceEnum(OPENINGS) = field(
        default="document",
        metadata={"help": "whether </s> opens the first window of a document alone, or each"},
    )


@register_task("windowed_language_modeling", dataclass=WindowedLanguageModelingConfig)
class WindowedLanguageModelingTask(LanguageModelingTask):
    """As language_modeling, and SPLIT@WINDOW:STRIDE names the split in windows.

    `valid@2048:256` scores every token of `valid` once, in windows of 2048 of which each scores
    256 new ones after the first; `valid@2048` stands for `valid@2048:2048`.
    """

    def load_dataset(self, split, epoch=1, combine=False, **kwargs):
        """As stock. Raises ValueError for a window or stride that leaves tokens out."""
        name, at, sizes = split.partition("@")
        if at:
            self.datasets[split] = self.load_windows(name, schedule(split, sizes))
        else:
            super().load_dataset(split, epoch=epoch, combine=combine, **kwargs)

    def load_windows(self, split, schedule):
        """The WindowedDataset of `split`."""
        text = load_text(self.args.data, split, self.source_dictionary, self.args.dataset_impl)
        return windowed(text, self, schedule, self.args.documents, self.args.opening)

    def get_batch_iterator(self, dataset, max_tokens=None, **kwargs):
        """As stock. Raises ValueError if a window does not fit."""
        if isinstance(dataset, WindowedDataset) and max_tokens is not None:
            longest = dataset.longest()
            if longest > max_tokens:
                raise ValueError(
                    f"{max_tokens} tokens a batch hold no window of {longest}: give at least "
                    f"--max-tokens-valid {longest} (fairseq-validate: --max-tokens)"
                )
        return super().get_batch_iterator(dataset, max_tokens=max_tokens, **kwargs)


def schedule(split, sizes):
    """The Sliding of `sizes`, WINDOW:STRIDE or WINDOW, in the name `split`."""
    numbers = sizes.split(":")
    if len(numbers) > 2 or not all(n.isascii() and n.isdigit() for n in numbers):
        raise ValueError(f"{split!r}: write SPLIT@WINDOW:STRIDE, as in valid@2048:256")
    window, stride = int(numbers[0]), int(numbers[-1])
    try:
        return Sliding(window, stride)
    except ValueError as error:
        raise ValueError(f"{split}: {error}") from error
