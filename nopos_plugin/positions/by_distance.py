"""What an encoding makes of distance, asked through its contract, whatever its name."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nopos_plugin.positions.base import PositionEncoding, Positions

THRESHOLD = -2.0  # the bias of an effective length, at which a key weighs exp(-2)
FAR = 2**20  # distances that are searched for it; farther is as good as none
BLOCK = 2**16  # of them at a time


@dataclass(frozen=True)
class Curve:
    """An answer at the distances 0, 1, ..., values (N,).

    answer: "bias"; "rotation", the mean of `planes` (P, N); or "embedding", of what is added.
    layers, head: that it is of, None for all. effective_length: of a bias.
    """

    answer: str
    values: Tensor
    layers: tuple[int, ...] | None = None
    head: int | None = None
    effective_length: int | None = None
    planes: Tensor | None = None


def curves(encoding: PositionEncoding, count: int) -> list[Curve]:
    """All that `encoding`, on the CPU, answers at `count` distances; nothing for NoPos."""
    found = []
    if encoding.bias is not None:
        tables = bias_tables(encoding, count)
        for layers, table in tables:
            lengths = effective_lengths(encoding, layers[0]).tolist()
            of = layers if len(tables) > 1 else None
            for head, (values, length) in enumerate(zip(table, lengths, strict=True)):
                found.append(Curve("bias", values, of, head, length))
    if type(encoding).rotate is not PositionEncoding.rotate:
        means, planes = rotation_scores(encoding, count)
        for head, pair in enumerate(zip(means, planes, strict=True)):
            of_head = head if len(means) > 1 else None
            found.append(Curve("rotation", pair[0], head=of_head, planes=pair[1]))
    if type(encoding).embed is not PositionEncoding.embed:
        found.append(Curve("embedding", embedding_similarity(encoding, count)))
    return found


@torch.no_grad()
def bias_tables(encoding, count):
    """[(layers, bias (H, count) of each of them)]; layers that differ only farther are told apart,
    too."""
    distance = torch.cat([torch.arange(count), 2 ** torch.arange(FAR.bit_length())])
    found: dict[bytes, tuple[tuple[int, ...], Tensor]] = {}
    for layer in range(encoding.shape.num_layers):
        table = bias_of(encoding, distance, layer)
        layers, _ = found.get(key := table.numpy().tobytes(), ((), table))
        found[key] = (*layers, layer), table[:, :count]
    return list(found.values())


def bias_of(encoding: PositionEncoding, distance: Tensor, layer: int) -> Tensor:
    """The bias of all heads in `layer` at `distance` (N,) int64, (H, N) float32."""
    head = torch.arange(encoding.shape.num_heads, device=distance.device)
    bias = encoding.bias(head[:, None], distance[None], layer)
    return bias.float().expand(len(head), len(distance))


@torch.no_grad()
def effective_lengths(encoding: PositionEncoding, layer: int) -> Tensor:
    """The first distance at which a head's bias is below THRESHOLD (Chi et al., 2022), (H,) int64;
    FAR if none before FAR is.

    The bias is the one that is added, in its float32. (The same less a constant would have other
    effective lengths, and the same attention.)
    """
    device = next((parameter.device for parameter in encoding.parameters()), None)
    found = torch.full((encoding.shape.num_heads,), FAR, device=device)
    for start in range(0, FAR, BLOCK):
        distance = torch.arange(start, start + BLOCK, device=device)
        below = bias_of(encoding, distance, layer) < THRESHOLD
        first = torch.where(below.any(1), start + below.int().argmax(1), FAR)
        found = torch.minimum(found, first)
        if (found < FAR).all():
            break
    return found


@torch.no_grad()
def rotation_scores(encoding: PositionEncoding, count: int) -> tuple[Tensor, Tensor]:
    """The score of a unit query and an equal key by distance, (H, count) in the mean over channels
    and (H, P, count) by plane; H is 1 if heads turn alike.

    The query is the last of `count` tokens. A plane is the channels that turn into one another, the
    last one all that do not turn. In RoPE its score is the cosine of an angle, times the square of
    a scaling's magnitude. `logit_scale` is in the scores, 1/sqrt(D) is not.
    """
    order, dim = torch.arange(count).unsqueeze(0), encoding.shape.head_dim
    rotation = encoding.rotation(order, order)
    planes: dict[tuple[int, ...], list[Tensor]] = {}
    for channel in range(dim):
        unit = F.one_hot(torch.tensor(channel), dim).float().expand(1, 1, count, dim)
        q, k = encoding.rotate(unit, unit, rotation)
        plane = tuple(q.ne(0).any(dim=(0, 1, 2)).nonzero().flatten().tolist())
        score = encoding.logit_scale * torch.einsum("bhd,bhtd->ht", q[:, :, -1], k).flip(-1)
        planes.setdefault(plane if len(plane) > 1 else (), []).append(score)
    scores = [score for some in planes.values() for score in some]
    by_plane = [torch.stack(some).mean(0) for some in planes.values()]
    return torch.stack(scores).mean(0), torch.stack(by_plane, dim=1)


@torch.no_grad()
def embedding_similarity(encoding: PositionEncoding, count: int) -> Tensor:
    """The cosine of what is added to embeddings at two positions, by distance, (count,) float64.

    The mean over all pairs among the first `count` positions.
    """
    index = torch.arange(count).unsqueeze(0)
    nothing = torch.zeros(1, count, encoding.shape.embed_dim)
    rows = encoding.embed(nothing, Positions(index, index, consecutive=True))[0].double()
    # sums over pairs of rows at each distance: a correlation of every channel with itself
    spectrum = torch.fft.rfft(F.normalize(rows, dim=1), 2 * count, dim=0)
    sums = torch.fft.irfft(spectrum.abs().square().sum(1), 2 * count)[:count]
    return sums / torch.arange(count, 0, -1)
