"""Language modeling on whole documents at positions beyond the window: PoSE and its relatives."""

import json
import logging
import math
import os
from dataclasses import dataclass, field
from typing import Optional

from fairseq import utils
from fairseq.data.indexed_dataset import MMapIndexedDataset
from fairseq.dataclass import ChoiceEnum
from fairseq.tasks import register_task

from nopos_plugin.data.load import load_text
from nopos_plugin.data.pose import CHUNK_TEXTS, LAWS, Law, PoseDataset
from nopos_plugin.tasks.windowed_language_modeling import (
    WindowedLanguageModelingConfig,
    WindowedLanguageModelingTask,
)

logger = logging.getLogger(__name__)


@dataclass
class PoseLanguageModelingConfig(WindowedLanguageModelingConfig):
    extension_factor: Optional[float] = field(
        default=None,
        metadata={
            "help": "positions of the target length, in windows (--tokens-per-sample); at least 1"
        },
    )
    extension: ChoiceEnum(list(LAWS)) = field(
        default="original",
        metadata={
            "help": "where the tokens of a window sit: PoSE's two chunks as published (original), "
            "its paper's chunks (chunks), at random positions (randpos), or where they are (plain)"
        },
    )
    num_chunks: int = field(default=2, metadata={"help": "of --extension chunks, at least 2"})
    chunk_text: ChoiceEnum(CHUNK_TEXTS) = field(
        default="free",
        metadata={
            "help": "where in the document later chunks come from: anywhere within five windows "
            "(free), right after the chunk before (contiguous), or, with --extension chunks, where "
            "their positions say (aligned)"
        },
    )
    no_jump_loss: bool = field(
        default=False,
        metadata={"help": "leave the first token of a later chunk out of the loss"},
    )


@register_task("pose_language_modeling", dataclass=PoseLanguageModelingConfig)
class PoseLanguageModelingTask(WindowedLanguageModelingTask):
    """As windowed_language_modeling, but what is trained on is whole documents at drawn positions.

    Splits valid... and test... are read as there. Documents are the items of a data-bin whose
    manifest.json says so, or what --documents says.
    """

    def __init__(self, args, dictionary, output_dictionary=None, targets=None):
        super().__init__(args, dictionary, output_dictionary, targets)
        self.law = law(args)

    def load_dataset(self, split, epoch=1, combine=False, **kwargs):
        """As stock. Raises ValueError if the documents to train on are not known."""
        if split.startswith(("valid", "test")):
            return super().load_dataset(split, epoch=epoch, combine=combine, **kwargs)
        paths = utils.split_paths(self.args.data)
        folder = paths[(epoch - 1) % len(paths)]
        text = load_text(folder, split, self.source_dictionary, self.args.dataset_impl)
        if combine and MMapIndexedDataset.exists(os.path.join(folder, f"{split}1")):
            raise ValueError(
                f"{folder} has {split}1 beside {split}, which would be left out: put it into a "
                "data-bin of its own, and name both, FIRST:SECOND"
            )
        bounds = text.documents(boundaries(folder, split, len(text.items), self.args.documents))
        opener = self.source_dictionary.eos()
        if getattr(self.args, "add_bos_token", False):
            opener = self.source_dictionary.bos()
        self.datasets[split] = PoseDataset(
            text,
            bounds,
            self.law,
            self.source_dictionary,
            self.target_dictionary,
            self.args.seed,
            opener,
            jump_loss=not self.args.no_jump_loss,
        )

    def build_model(self, args, from_checkpoint=False):
        """As stock. Raises ValueError for a model whose outcome no position changes."""
        model = super().build_model(args, from_checkpoint)
        check_model(model, self.law)
        logger.info(
            f"extension: {self.law.name}, windows of {self.law.window} at positions up to "
            f"{self.law.target}"
        )
        return model


def law(args):
    """The Law of the options. Raises ValueError for what cannot be."""
    factor, window = args.extension_factor, args.tokens_per_sample
    if factor is None:
        raise ValueError(
            "--task pose_language_modeling needs --extension-factor: how many windows of "
            "--tokens-per-sample positions may reach, such as 8"
        )
    if not 1 <= factor < math.inf:
        raise ValueError(
            f"--extension-factor {factor:g}: the target would be shorter than the window of "
            f"{window} tokens; give 1 or more"
        )
    chosen = args.extension
    if args.num_chunks != 2 and chosen != "chunks":
        raise ValueError(f"--num-chunks {args.num_chunks} is for --extension chunks, not {chosen}")
    if args.num_chunks < 2:
        raise ValueError(
            f"--num-chunks {args.num_chunks}: give at least 2, or --extension plain for one chunk"
        )
    if args.num_chunks > window:
        raise ValueError(
            f"--num-chunks {args.num_chunks}: a window has {window} tokens, so give fewer"
        )
    allowed = {"original": ("free", "contiguous"), "chunks": CHUNK_TEXTS}.get(chosen, ("free",))
    if args.chunk_text not in allowed:
        raise ValueError(
            f"--chunk-text {args.chunk_text}: --extension {chosen} has {' and '.join(allowed)}"
        )
    if args.no_jump_loss and chosen in ("randpos", "plain"):
        raise ValueError(f"--no-jump-loss: --extension {chosen} has no chunks to jump to")
    return Law(chosen, window, int(window * factor), args.chunk_text, args.num_chunks)


def boundaries(folder, split, items, documents):
    """One of text.BOUNDARIES: what is a document of `split` in `folder`.

    items: of the data-bin. documents: what was typed. Raises ValueError if that is not known.
    """
    if documents != "none":
        return documents
    known = None
    path = os.path.join(folder, "manifest.json")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            known = json.load(file).get("splits", {}).get(split, {}).get("documents")
    if known != items:
        said = "does not say" if known is None else f"says that {known:,} documents are in them"
        raise ValueError(
            f"{folder}: what a document is, is not known: {split} has {items:,} lines, and "
            f"manifest.json {said}; give --documents lines or blank-lines, or prepare the text "
            "with nopos-prepare-text or nopos-prepare-pile, which keep documents whole"
        )
    return "lines"


def check_model(model, law):
    """Raise ValueError if `model` cannot be told positions, or not as far as `law` goes."""
    encoding = getattr(getattr(model, "decoder", None), "encoding", None)
    if encoding is None:
        raise ValueError(
            "--task pose_language_modeling needs an --arch of this plugin, such as "
            "transformer_lm_rope: stock models cannot be told positions"
        )
    if not encoding.accepts_given:
        why = {"nopos": "it has no positions, so any are the same to it"}
        reason = why.get(encoding.name, "its positions are segments, which it reads off the text")
        raise ValueError(
            f"--task pose_language_modeling with --position-encoding {encoding.name}: {reason}; "
            "use --task language_modeling"
        )
    if encoding.max_positions is not None and law.target > encoding.max_positions:
        raise ValueError(
            f"--extension-factor: positions up to {law.target} are beyond --position-encoding "
            f"{encoding.name}, which ends at {encoding.max_positions}: train it with "
            f"--max-target-positions {law.target}, or extend less"
        )
