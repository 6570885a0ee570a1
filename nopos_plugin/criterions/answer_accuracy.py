"""Train on the answers, validate by what is answered."""

import math

import torch.nn.functional as F
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics

from nopos_plugin.evaluation.decoding import greedy


@register_criterion("answer_accuracy", dataclass=FairseqDataclass)
class AnswerAccuracy(FairseqCriterion):
    """Cross entropy of the answers' tokens, and whether each is the most probable one.

    In validation also `answer_accuracy`: the share of answers that are right when they are decoded
    greedily, up to twice as many tokens as the longest of a batch has; and answer_accuracy_3 and so
    on, that of questions of length 3. It needs --task length_generalization, which says what is
    right. For the best checkpoint by it:
    --best-checkpoint-metric answer_accuracy --maximize-best-checkpoint-metric.
    """

    @classmethod
    def build_criterion(cls, cfg, task):
        """As stock. Raises ValueError for a task that has no answers."""
        if not hasattr(task, "are_right"):
            raise ValueError("--criterion answer_accuracy needs --task length_generalization")
        return cls(task)

    def forward(self, model, sample, reduce=True):
        """(loss, sample_size, logging outputs): a sum of nats over the answers' tokens."""
        target = sample["target"]
        logits, _ = model(**sample["net_input"])
        real = target != self.padding_idx
        logits, target = logits[real], target[real]
        loss = F.cross_entropy(logits.float(), target, reduction="sum" if reduce else "none")
        logs = {
            "loss": loss.detach(),
            "ntokens": sample["ntokens"],
            "nsentences": sample["nsentences"],
            "sample_size": sample["ntokens"],
            "tokens_right": (logits.argmax(-1) == target).sum(),
        }
        if not self.training:
            right = self.answered(model, sample)
            found = [
                (record["length"], int(its))
                for record, its in zip(sample["records"], right, strict=True)
            ]
            # every length, whatever the batch has: what is summed over processes has the same keys
            for length in self.task.lengths():
                its = [hit for n, hit in found if n == length]
                logs |= {f"answers_{length}": len(its), f"right_{length}": sum(its)}
        return loss, sample["ntokens"], logs

    def answered(self, model, sample):
        """[bool] of the batch."""
        dictionary = self.task.source_dictionary
        longest = int((sample["target"] != self.padding_idx).sum(1).max())
        ends = dictionary.eos(), dictionary.pad()
        answers = greedy(model, sample["questions"], 2 * longest, *ends)
        return self.task.are_right(sample["questions"], answers, sample["records"])

    @classmethod
    def reduce_metrics(cls, logging_outputs):
        def total(name):
            return sum(log.get(name, 0) for log in logging_outputs)

        tokens = total("ntokens")
        if tokens:
            metrics.log_scalar("loss", total("loss") / tokens / math.log(2), tokens, round=4)
            right = 100 * total("tokens_right") / tokens
            metrics.log_scalar("token_accuracy", right, tokens, round=2)
        names = [name for log in logging_outputs[:1] for name in log if name.startswith("answers_")]
        counts = {name.removeprefix("answers_"): total(name) for name in names}
        for length, count in counts.items():
            if count:
                right = 100 * total(f"right_{length}") / count
                metrics.log_scalar(f"answer_accuracy_{length}", right, count, round=2)
                metrics.log_scalar("answer_accuracy", right, count, round=2)

    @staticmethod
    def logging_outputs_can_be_summed():
        return True
