"""Files of llama2.c against its forward in float64, and its tokenizer.bin against its encoder.

Both are retyped from karpathy/llama2.c, run.c; the files are written as its export.py and
tokenizer.py write them.
"""

import math
import struct
from collections import Counter

import importing
import pytest
import tiny
import torch

from nopos_plugin.prepare.tokenizers.tokenizer_json import TokenizerJson

DIM, INNER, LAYERS, TRAINED = 32, 40, 2, 24
LENGTHS = (1, 2, TRAINED, 100)
TEXT = "once upon a time there was a little cat. the cat sat on a mat, and the mat was <so flat>. "


class Vocabulary:
    """What a tokenizer.bin holds: `pieces` and `scores` by id, and the encoder of run.c."""

    def __init__(self, merges=40):
        text, joined = ["▁", *TEXT.replace(" ", "▁")], []
        for _ in range(merges):  # the commonest pair becomes a piece, as in training
            counts = Counter(a + b for a, b in zip(text, text[1:], strict=False))
            piece = min(counts, key=lambda piece: (-counts[piece], piece))
            joined.append(piece)
            at = 0
            while at < len(text) - 1:
                if text[at] + text[at + 1] == piece:
                    text[at : at + 2] = [piece]
                at += 1
        joined += ["<s", "s>", "/s>"]  # from which no <s> and no </s> is ever joined
        characters = sorted({*TEXT.replace(" ", "▁"), "/"})
        pieces = ["<unk>", "\n<s>\n", "\n</s>\n", *(f"<0x{byte:02X}>" for byte in range(256))]
        self.scores = [0.0] * len(pieces) + [float(-n) for n in range(len(joined + characters))]
        self.pieces = [piece.replace("▁", " ") for piece in [*pieces, *joined, *characters]]

    def save(self, path):
        content = struct.pack("<I", max(len(piece.encode()) for piece in self.pieces))
        for piece, score in zip(self.pieces, self.scores, strict=True):
            content += struct.pack("<fI", score, len(piece.encode())) + piece.encode()
        path.write_bytes(content)

    def encode(self, text):
        """The ids of run.c: characters, or their bytes, then the best pair joined, again and again.

        A space comes first.
        """
        known = {piece: i for i, piece in enumerate(self.pieces)}
        ids = [known[" "]] * bool(text)
        for character in text:
            bytes_of = [byte + 3 for byte in character.encode()]
            ids += [known[character]] if character in known else bytes_of
        while True:
            best = (-1e10, None, None)
            for at in range(len(ids) - 1):
                piece = known.get(self.pieces[ids[at]] + self.pieces[ids[at + 1]])
                if piece is not None and self.scores[piece] > best[0]:
                    best = (self.scores[piece], piece, at)
            if best[1] is None:
                return ids
            ids[best[2] : best[2] + 2] = [best[1]]


VOCABULARY = Vocabulary()
ROWS = len(VOCABULARY.pieces)


class Llama:
    """A model of llama2.c; `tensors` in the order of the file."""

    def __init__(self, heads=4, kv_heads=4, shared=True, theta=10000.0, rows=ROWS):
        self.heads, self.kv_heads, self.shared, self.rows = heads, kv_heads, shared, rows
        generator = torch.Generator().manual_seed(1)
        kv_dim = DIM // heads * kv_heads

        def draw(*size, inputs=1):
            return torch.randn(size, generator=generator) * inputs**-0.5

        self.width = DIM // heads
        exponents = torch.arange(0, self.width, 2).double() / self.width
        angles = torch.outer(torch.arange(TRAINED).double(), theta**-exponents)
        self.tensors = {
            "embedding": draw(rows, DIM) / 20,  # so small that the norms' eps is seen
            "attention_norm": 1 + draw(LAYERS, DIM) / 4,
            "wq": draw(LAYERS, DIM, DIM, inputs=DIM),
            "wk": draw(LAYERS, kv_dim, DIM, inputs=DIM),
            "wv": draw(LAYERS, kv_dim, DIM, inputs=DIM),
            "wo": draw(LAYERS, DIM, DIM, inputs=DIM),
            "ffn_norm": 1 + draw(LAYERS, DIM) / 4,
            "w1": draw(LAYERS, INNER, DIM, inputs=DIM),
            "w2": draw(LAYERS, DIM, INNER, inputs=INNER),
            "w3": draw(LAYERS, INNER, DIM, inputs=DIM),
            "norm": 1 + draw(DIM) / 4,
            "cos": angles.cos().float(),
            "sin": angles.sin().float(),
        }
        if not shared:
            self.tensors["classifier"] = draw(rows, DIM, inputs=16)

    def save(self, path):
        rows = self.rows if self.shared else -self.rows
        header = struct.pack("<7i", DIM, INNER, LAYERS, self.heads, self.kv_heads, rows, TRAINED)
        numbers = torch.cat([tensor.flatten() for tensor in self.tensors.values()])
        path.write_bytes(header + numbers.numpy().astype("<f4").tobytes())
        return path

    def logits(self, ids):
        """(B, T, rows) float64 of the ids (B, T)."""
        of = {name: x.double() for name, x in self.tensors.items()}
        rows, length = ids.shape
        x = of["embedding"][ids]
        future = torch.ones(length, length).triu(1).bool()
        for n in range(LAYERS):
            seen = rms(x, of["attention_norm"][n])
            q, k, v = (
                (seen @ of[name][n].T).view(rows, length, -1, self.width).transpose(1, 2)
                for name in ("wq", "wk", "wv")
            )
            q, k = turned(q), turned(k)
            k, v = (x.repeat_interleave(self.heads // self.kv_heads, dim=1) for x in (k, v))
            scores = (q @ k.mT / math.sqrt(self.width)).masked_fill(future, -torch.inf)
            seen = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
            x = x + seen @ of["wo"][n].T
            fed = rms(x, of["ffn_norm"][n])
            gate = fed @ of["w1"][n].T
            x = x + (gate / (1 + (-gate).exp()) * (fed @ of["w3"][n].T)) @ of["w2"][n].T
        return rms(x, of["norm"]) @ of["embedding" if self.shared else "classifier"].T


def rms(x, weight):
    return weight * x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()


def turned(x):
    """x (B, H, T, D) with its pairs (2i, 2i + 1) turned."""
    out, width = x.clone(), x.size(3)
    for i in range(0, width, 2):
        angle = torch.arange(x.size(2)).double() * 10000 ** (-i / width)
        out[..., i] = x[..., i] * angle.cos() - x[..., i + 1] * angle.sin()
        out[..., i + 1] = x[..., i] * angle.sin() + x[..., i + 1] * angle.cos()
    return out


@pytest.fixture
def tokenizer(tmp_path):
    """The flags that name a tokenizer.bin."""
    VOCABULARY.save(tmp_path / "tokenizer.bin")
    return "--tokenizer", tmp_path / "tokenizer.bin"


@pytest.mark.parametrize(
    "sizes", [{}, {"kv_heads": 2}, {"heads": 8, "kv_heads": 1, "shared": False}]
)
def test_logits_equal_the_originals_at_any_length(sizes, tokenizer, tmp_path):
    llama = Llama(**sizes)
    ours = importing.imported(llama.save(tmp_path / "model.bin"), tmp_path, *tokenizer)
    assert ours.model.decoder.encoding.describe().startswith("rope (theta=10000.0,fraction=1.0,lay")
    said = importing.manifest(ours.folder)
    assert said["kind"] == "a file of llama2.c"
    assert said["dropped"] == dict.fromkeys(("cosines", "sines"), "made anew from theta")
    for length in LENGTHS:
        ids = torch.randint(ROWS, (2, length), generator=torch.Generator().manual_seed(length))
        tiny.assert_close(ours.logits(ids), llama.logits(ids), 3e-6)


def test_texts_are_cut_as_the_original_cuts_them(tokenizer, tmp_path):
    ours = importing.imported(Llama().save(tmp_path / "model.bin"), tmp_path, *tokenizer)
    assert (ours.dictionary.symbols[: len(TEXT)]).index("</s>") == 2
    assert [ours.rows[i] for i in (1, 2)] == [0, 2]  # <s> and </s>
    cutter = TokenizerJson(ours.folder / "tokenizer.json")
    texts = [
        *("once upon a time there was a mat", TEXT, TEXT * 3, " the  cat ", "a", " ", "catcatcat"),
        *("Zoë's 3 cats\tsat.\n\nthe mat\r\n", "猫 sat on 🐈‍⬛ mat", "\x00 \x7f \u00a0"),
        *("<s> the </s> <unk> <0x0A>", "\n<s>\n", "<so", "/s>"),
    ]
    for text, made in zip(texts, cutter.encode(texts), strict=True):
        expected = VOCABULARY.encode(text)
        assert made.tolist() == [ours.rows[i] for i in expected], text
    assert any(3 <= i < 259 for i in VOCABULARY.encode(texts[7]))  # bytes are among them
    assert max(VOCABULARY.encode(TEXT)) > 259 and len(VOCABULARY.encode(TEXT)) < len(TEXT) / 2


def header(**changes):
    """Those bytes of a file of llama2.c that say its sizes, changed."""
    sizes = {"dim": DIM, "inner": INNER, "layers": LAYERS, "heads": 4, "kv": 4, "rows": ROWS}
    return struct.pack("<7i", *{**sizes, "length": TRAINED, **changes}.values())


@pytest.mark.parametrize(
    "change",
    [
        lambda whole: b"",
        lambda whole: whole[:20],
        lambda whole: whole[:28],
        lambda whole: whole[:-1],
        lambda whole: whole[:-4],
        lambda whole: whole + b"\0",
        lambda whole: whole + bytes(4),
        lambda whole: header(heads=5) + whole[28:],
        lambda whole: header(heads=0) + whole[28:],
        lambda whole: header(rows=0) + whole[28:],
        lambda whole: header(rows=-ROWS) + whole[28:],
        lambda whole: header(length=2**31 - 1) + whole[28:],
        lambda whole: header(dim=-DIM) + whole[28:],
        lambda whole: struct.pack("<2i", 0x616B3432, 1) + whole,  # of its later versions
    ],
)
def test_other_lengths_and_headers_are_refused(change, tokenizer, tmp_path):
    path = Llama().save(tmp_path / "model.bin")
    path.write_bytes(change(path.read_bytes()))
    refused = importing.refusal(path, tmp_path, *tokenizer)
    assert f"{path} is no file of llama2.c, as long as its header says" in refused


def test_another_base_is_refused(tokenizer, tmp_path):
    path = Llama(theta=1e6).save(tmp_path / "model.bin")
    assert "its cosines are not of base 10,000" in importing.refusal(path, tmp_path, *tokenizer)


def test_heads_that_do_not_share_evenly_are_refused(tokenizer, tmp_path):
    path = Llama(kv_heads=3).save(tmp_path / "model.bin")
    assert "--decoder-kv-heads 3 does not divide" in importing.refusal(path, tmp_path, *tokenizer)


def test_other_tokenizers_are_refused(tokenizer, tmp_path):
    path, file = Llama().save(tmp_path / "model.bin"), tokenizer[1]
    assert "name the model's by --tokenizer" in importing.refusal(path, tmp_path)
    smaller = Llama(rows=ROWS - 1).save(tmp_path / "smaller.bin")
    refused = importing.refusal(smaller, tmp_path, *tokenizer)
    assert f"has {ROWS:,} pieces, and the model {ROWS - 1:,} rows" in refused
    whole = file.read_bytes()
    for part in (whole[:-12], whole[:-1], whole[:2000], whole[:4], b""):  # numbers, or a piece
        file.write_bytes(part)
        assert f"--tokenizer {file}" in importing.refusal(path, tmp_path, *tokenizer)
    file.write_bytes(whole.replace(b"<0x41>", b"<0x42>"))
    assert "a piece is there twice" in importing.refusal(path, tmp_path, *tokenizer)
