"""Train as ever, validate in windows."""

import logging
import math
from dataclasses import dataclass

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.criterions.adaptive_loss import AdaptiveLoss
from fairseq.criterions.cross_entropy import CrossEntropyCriterion
from fairseq.dataclass import FairseqDataclass
from fairseq.dataclass.constants import DDP_BACKEND_CHOICES
from fairseq.logging import metrics
from omegaconf import II

from nopos_plugin.evaluation.scorer import nats

logger = logging.getLogger(__name__)


@dataclass
class SlidingWindowConfig(FairseqDataclass):
    sentence_avg: bool = II("optimization.sentence_avg")
    ddp_backend: DDP_BACKEND_CHOICES = II("distributed_training.ddp_backend")


@register_criterion("sliding_window", dataclass=SlidingWindowConfig)
class SlidingWindow(FairseqCriterion):
    """Trains as adaptive_loss if the model has an adaptive softmax, else as cross_entropy.

    The updates are theirs bit for bit. In validation it scores the targets that are no pads, and
    only those: of windows each once (see `WindowedDataset`). Their losses are summed in float64.
    """

    def __init__(self, task, sentence_avg, ddp_backend):
        super().__init__(task)
        self.ddp_backend = ddp_backend
        self.full = CrossEntropyCriterion(task, sentence_avg)
        self.adaptive = AdaptiveLoss(task, sentence_avg)

    @classmethod
    def build_criterion(cls, cfg, task):
        """As stock. Raises ValueError for a task that makes no windows."""
        if not hasattr(task, "load_windows"):
            raise ValueError(
                "--criterion sliding_window needs --task windowed_language_modeling, which makes "
                "windows of --valid-subset SPLIT@WINDOW:STRIDE"
            )
        return super().build_criterion(cfg, task)

    def forward(self, model, sample, reduce=True):
        """As stock; in validation the loss is a float64 sum of nats, and sample_size the tokens."""
        if self.training:
            return self._of(model)(model, sample, reduce)
        if not sample:  # fairseq-validate's, where another process has one batch more
            return torch.zeros((), dtype=torch.float64), 0, {}
        losses = nats(model, sample, self.padding_idx).double()
        if not losses.isfinite().all():
            _name(sample, losses, self.padding_idx)
        loss = losses.sum() if reduce else losses
        logging_output = {
            "loss": loss,
            "ntokens": losses.numel(),
            "nsentences": sample["target"].size(0),
            "sample_size": losses.numel(),
            "scored": losses.numel(),
        }
        return loss, losses.numel(), logging_output

    def _of(self, model):
        if getattr(model.decoder, "adaptive_softmax", None) is None:
            return self.full
        replicas = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        if replicas > 1 and self.ddp_backend in ("c10d", "pytorch_ddp"):
            raise ValueError(
                f"--ddp-backend {self.ddp_backend} does not work with an adaptive softmax: give "
                "--ddp-backend legacy_ddp"
            )
        return self.adaptive

    @classmethod
    def reduce_metrics(cls, logging_outputs):
        """As stock in training; in validation with more digits."""
        scored = sum(log.get("scored", 0) for log in logging_outputs)
        if not scored:
            return CrossEntropyCriterion.reduce_metrics(logging_outputs)
        bits = sum(log.get("loss", 0) for log in logging_outputs) / scored / math.log(2)
        metrics.log_scalar("loss", bits, scored, round=6)
        metrics.log_derived("ppl", lambda meters: _perplexity(float(meters["loss"].avg)))

    @staticmethod
    def logging_outputs_can_be_summed():
        return True


def _perplexity(bits):
    """2 to that power, or infinity."""
    return 2**bits if bits < 1024 else math.inf


def _name(sample, losses, pad):
    """Say in the log which window has the first loss that is infinite or no number."""
    first = int((~losses.isfinite()).int().argmax())
    row = int((sample["target"] != pad).nonzero()[first, 0])
    window = int(sample["id"][row])
    logger.warning(f"a loss of window {window} is {losses[first].item()}: no perplexity")
