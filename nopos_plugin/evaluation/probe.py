"""Probes: can the place of a token in its window be read off the hidden states of a model?

Haviv et al. (2022), section 5. Beside each probe goes a control, which learns the same from
shuffled labels: what it reaches, a probe reaches that has learned nothing of positions.

DIFFERS from adihaviv/NoPos@01a557e: one pass for all layers, in which the model is no part of what
is optimized; pads are neither trained on nor counted; classes are the L places, no symbols before.
"""

import torch
import torch.nn.functional as F

WEIGHT_DECAY, WARMUP = 0.01, 0.05  # of Haviv et al. (2022); the latter a share of the updates


class Probes(torch.nn.Module):
    """For each of K layers a probe and its control: C -> 2C -> ReLU -> L, without biases.

    All are products of one stack, and share nothing; a control begins with the weights of its
    probe. generator: of the weights, drawn on the CPU.
    """

    def __init__(self, layers, width, length, generator):
        super().__init__()
        self.inner = weights(layers, width, 2 * width, generator)
        self.outer = weights(layers, 2 * width, length, generator)

    def forward(self, states):
        """Logits (2, K, N, L), the probes' first, of `states` (K, N, C)."""
        return (states @ self.inner).relu() @ self.outer


def weights(layers, width, outputs, generator):
    """(2, K, width, outputs), uniform up to width**-0.5 as torch's Linear."""
    drawn = torch.rand(layers, width, outputs, generator=generator)
    return torch.nn.Parameter(((2 * drawn - 1) * width**-0.5).repeat(2, 1, 1, 1))


@torch.no_grad()
def hidden(model, sample, pad):
    """States of the tokens of a batch (K, N, C) float32, and their places (N,) int64 from 0 on.

    model: a language model of fairseq's, in eval mode. The K states are those after the embedding,
    with what the encoding adds to it, and after each layer, before the final norm. sample: windows
    without overlap, whose `target` (B, T) is `pad` at what is no token of them.
    """
    inside = sample["target"] != pad
    states = model(**sample["net_input"], features_only=True)[1]["inner_states"]  # (T, B, C)
    found = torch.stack([state.transpose(0, 1)[inside] for state in states])
    return found.float(), inside.cumsum(1)[inside] - 1


def train(probes, batches, updates, lr, generator):
    """Fit `probes` to as many `batches` of (states, places); yields each one's losses (2, K).

    lr: the highest, after WARMUP; from there it falls to 0. generator: of the shuffles, each of the
    labels of one batch, on the CPU.
    """
    optimizer = torch.optim.AdamW(probes.parameters(), lr=lr, weight_decay=WEIGHT_DECAY)
    warmup = max(1, round(WARMUP * updates))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda done: min((done + 1) / warmup, (updates - done) / (updates - warmup + 1))
    )
    for states, places in batches:
        order = torch.randperm(len(places), generator=generator).to(places.device)
        losses = nats(probes(states), torch.stack([places, places[order]]))
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
        schedule.step()
        yield losses.detach()


def nats(logits, labels):
    """Means (2, K) of -ln p, of `labels` (2, N) by `logits` (2, K, N, L)."""
    each = labels.unsqueeze(1).expand(logits.shape[:-1])  # (2, K, N)
    losses = F.cross_entropy(logits.flatten(0, 2), each.flatten(), reduction="none")
    return losses.view(each.shape).mean(-1)


@torch.no_grad()
def measure(probes, batches, generator):
    """What `probes` and controls say of the (states, places) of `batches`, against the true places.

    One whose units are all silent, as many of a control are, guesses; generator: of the guesses.
    Returns the sums of |said - true| and how many are right, both (2, K) int64, and of how many.
    """
    errors, right, tokens = 0, 0, 0
    for states, places in batches:
        logits = probes(states)  # (2, K, N, L)
        silent = logits.amax(-1) == logits.amin(-1)
        guesses = torch.randint(logits.size(-1), silent.shape, generator=generator)
        said = torch.where(silent, guesses.to(places.device), logits.argmax(-1))
        off = (said - places).abs()  # (2, K, N)
        errors, right = errors + off.sum(-1), right + (off == 0).sum(-1)
        tokens += len(places)
    return errors, right, tokens


def summary(errors, right, tokens):
    """What `measure` returned, as fields of a result: error is the mean, in tokens."""
    columns = [(part / tokens).tolist() for part in (*errors.double(), *right.double())]
    return {
        "tokens": tokens,
        "layers": [
            {
                "layer": layer,
                "error_tokens": error,
                "accuracy": share,
                "control_error_tokens": control_error,
                "control_accuracy": control_share,
            }
            for layer, (error, control_error, share, control_share) in enumerate(
                zip(*columns, strict=True)
            )
        ],
    }


def random_error(length):
    """The mean |i - j| of two places drawn from `length`, all alike and apart: about length / 3.

    (Who always says the middle is off by length / 4.)
    """
    return (length**2 - 1) / (3 * length)
