"""nopos-attention: how models of different encodings attend, and how far apart they are."""

import argparse
import sys
import time

import torch
from tqdm import tqdm

from nopos_plugin.cli import arguments, asking, checkpoint, preparing
from nopos_plugin.cli.analyse import analyse
from nopos_plugin.evaluation import losses
from nopos_plugin.evaluation.divergence import histogram, most_attended, of_heads
from nopos_plugin.evaluation.results import ATTENTION
from nopos_plugin.evaluation.table import ATTENDED
from nopos_plugin.models.maps import attention_maps
from nopos_plugin.provenance import provenance

COMMAND = "nopos-attention"
TOKENS = {"cpu": 2048, "cuda": 16384}  # of a batch


def parser():
    made = argparse.ArgumentParser(
        prog=COMMAND,
        description="Attention of models of --task length_generalization to questions and their "
        "gold answers, by layer and length. How far back each query looks most: (query - argmax) / "
        "(query + 1), 0 for itself. With --against, how far apart a model and that one are: the "
        "Jensen-Shannon distance of their attention weights, the root of nats, 0 to 0.833, a mean "
        "over queries, for every pair of heads; told are the least over all pairs, and the mean of "
        "heads with the same number. As in Kazemnejad et al. (2023) the former is of the queries "
        "that answer, the latter of the question's; but over all pairs, and the true divergence. "
        "Never are the weights of all layers held. Each result is printed and added to a file, a "
        "line of JSON; one that is there already is not made again. nopos-plot draws it.",
    )
    add = made.add_argument
    add("data", metavar="DATA", help="a data-bin of nopos-make-task")
    checkpoint.add_options(made)
    add(
        "--against",
        metavar="CKPT",
        help="a model of the same seed and layers, such as NoPos'; as it was trained, whatever "
        "options of the model are given",
    )
    add(
        "--samples",
        type=arguments.count,
        default=10,
        metavar="N",
        help="questions of each length (default: 10, the study's)",
    )
    add("--output", default="attention.jsonl", metavar="FILE", help="default: attention.jsonl")
    return made


def main(typed=None):
    """The exit status: 0 if every result is there, else 1. (argparse exits with 2.)"""
    options = parser().parse_args(typed)
    return preparing.run(
        COMMAND, lambda: analyse(options, ATTENTION, ATTENDED, Attending), quiet=True
    )


class Attending:
    """How `subject` attends to questions, and how far that is from the model --against.

    Raises ValueError for models that have no attention of this plugin's, or not as many layers.
    """

    def __init__(self, subject, options):
        self.subject, self.options, self.task = subject, options, subject.task
        self.models = [subject]
        if options.against is not None:
            (path,) = checkpoint.paths(options.against, "--against", most=1)
            as_trained = argparse.Namespace(
                **{**vars(options), "position_args": None, "model_overrides": {}}
            )
            self.models.append(checkpoint.Checkpoint(path, options.data, as_trained))
        for model in self.models:
            asking.refuse_others(model)
            if not hasattr(model.model.decoder, "attentions"):
                raise ValueError(f"{model.path} is no model of this plugin's")
        layers = {len(model.model.decoder.layers) for model in self.models}
        if len(layers) > 1:
            raise ValueError(
                f"--against {options.against}: {' and '.join(map(str, sorted(layers)))} layers "
                "cannot be compared; name a model of the same depth"
            )

    def described(self):
        """What a result says of the questions and of the other model."""
        against = self.models[1].described() if len(self.models) > 1 else {}
        return {
            **asking.described(self.options),
            "against": against.get("checkpoint"),
            "against_sha256": against.get("checkpoint_sha256"),
            "against_position_encoding": against.get("position_encoding"),
        }

    def measured(self):
        """What it says of the attention, and of how that was measured."""
        start = time.monotonic()
        datasets = asking.questions(self.models)
        asked = [
            (split, length, indices)
            for split, dataset in datasets.items()
            for length, indices in dataset.by_length(self.options.samples)
        ]
        often = 0.5 if sys.stderr.isatty() else 30
        bar = tqdm(asked, desc="attention", unit=" lengths", leave=False, mininterval=often)
        made = [
            {
                "split": split,
                "length": length,
                "samples": len(indices),
                "layers": self.layers(datasets[split], indices),
            }
            for split, length, indices in bar
        ]
        return {
            "by_length": made,
            "seconds": round(time.monotonic() - start, 3),
            **provenance(self.options.device),
        }

    def layers(self, dataset, indices):
        """[{"layer", ...}]: means over the samples at `indices`."""
        found = []
        size = max(1, TOKENS[self.options.device] // int(dataset.sizes[indices].max()))
        for first in range(0, len(indices), size):
            batch = dataset.collater([dataset[index] for index in indices[first : first + size]])
            found += self.of(losses.on(batch, self.options.device))
        return [
            {"layer": layer, **mean_of([one for number, one in found if number == layer])}
            for layer in range(1, 1 + len(self.subject.model.decoder.layers))
        ]

    def of(self, batch):
        """Yields (layer, {name: (B,) or (B, BINS)})."""
        tokens = batch["net_input"]["src_tokens"]
        place = torch.arange(tokens.size(1), device=tokens.device)
        asked = torch.tensor([[len(question)] for question in batch["questions"]]).to(place)
        asking = (place > 0) & (place < asked)  # the first token sees itself alone
        answering = (place >= asked - 1) & (tokens != self.task.source_dictionary.pad())
        maps = (attention_maps(model.model.decoder, tokens) for model in self.models)
        for layer, (weights, *others) in enumerate(zip(*maps, strict=True), start=1):
            back = most_attended(weights)
            values = {
                "most_attended": per_sample(back, answering),
                "most_attended_shares": histogram(back, answering),
            }
            for other in others:
                distance = of_heads(weights, other, asking)
                values["least_distance"] = distance.flatten(1).min(1).values
                values["matched_distance"] = distance.diagonal(dim1=1, dim2=2).mean(1)
            yield layer, values


def per_sample(values, real):
    """The mean of (B, H, T) over heads and the queries that are `real`, (B,)."""
    return (values.mean(1) * real).sum(1) / real.sum(1)


def mean_of(batches):
    """{name: mean over all samples}, a number or a list."""
    joined = {name: torch.cat([one[name] for one in batches]) for name in batches[0]}
    return {name: value.double().mean(0).tolist() for name, value in joined.items()}


if __name__ == "__main__":
    sys.exit(main())
