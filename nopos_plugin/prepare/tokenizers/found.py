"""The vocabulary of a released model, in whatever files it came, as a tokenizer.json."""

import json
import struct
from itertools import count
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

SPACE = "▁"  # SentencePiece's
NAMES = ("tokenizer.json", "tokenizer.model", "vocab.json")
SPECIAL = ("<unk>", "<s>", "</s>")  # LLaMA's, which no text is cut into
# What a normalization would change.
CHANGED = "  \ufb01 \uff21\t e\u0301 "


def find(path):
    """The file of a vocabulary at `path`, or in it if that is a folder; None if there is none."""
    if path.is_file():
        return path
    return next((path / name for name in NAMES if (path / name).is_file()), None)


def read(path):
    """The content of a tokenizer.json, made of the file at `path`.

    It is one itself, a tokenizer.model of SentencePiece's BPE, a vocab.json of byte-level BPE with
    its merges.txt beside it, or a tokenizer.bin of llama2.c. Raises ValueError.
    """
    try:
        if path.name.endswith(".model"):
            made = sentencepiece(path)
        elif path.suffix == ".bin":
            made = of_scores(llama2c(path))
        elif path.name.endswith("vocab.json"):
            made = byte_level(path, path.with_name(path.name.replace("vocab.json", "merges.txt")))
        else:
            Tokenizer.from_file(str(path))
            return json.loads(path.read_text("utf-8"))
    except Exception as error:  # the libraries raise nothing narrower
        if str(error).startswith("--tokenizer"):
            raise
        raise ValueError(f"--tokenizer {path}: {error}") from None
    return json.loads(made.to_str())


def byte_level(vocab, merges):
    made = Tokenizer(models.BPE.from_file(str(vocab), str(merges)))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made


def sentencepiece(path):
    """What a model of SentencePiece's is, if it is a BPE as LLaMA's is. Else a ValueError.

    That it is one is seen by what both make of CHANGED, and of all its pieces, alone and in a row.
    """
    try:
        import sentencepiece as library
    except ImportError:
        raise ValueError(
            f"--tokenizer {path}: pip install sentencepiece to read it, or name a tokenizer.json"
        ) from None
    model = library.SentencePieceProcessor(model_file=str(path))
    made = of_scores([(model.id_to_piece(i), model.get_score(i)) for i in range(len(model))])
    made.encode_special_tokens = True  # they are text in a text
    texts = [model.id_to_piece(i).replace(SPACE, " ") for i in range(len(model))]
    for text in (CHANGED, *texts, "".join(texts)):
        if model.encode(text) != made.encode(text, add_special_tokens=False).ids:
            raise ValueError(
                f"--tokenizer {path}: SentencePiece cuts {text[:20]!r} otherwise than a BPE with "
                "LLaMA's spaces, which is all that is read of its models: name a tokenizer.json"
            )
    return made


def llama2c(path):
    """[(piece, score)] of a tokenizer.bin: the longest piece, then score, length and bytes each."""
    content, pieces, place = path.read_bytes(), [], 4
    while place + 8 <= len(content):
        score, length = struct.unpack_from("<fi", content, place)
        piece = content[place + 8 : place + 8 + length].decode()
        place += 8 + length
        # its begin and end stand on lines of their own
        pieces.append((piece.strip("\n") if len(piece) > 1 else piece, score))
    if place != len(content) or not pieces:
        raise ValueError(f"--tokenizer {path} ends in the middle of a piece")
    return [(piece.replace(" ", SPACE), score) for piece, score in pieces]


def of_scores(pieces):
    """The BPE that joins those first whose piece has the highest score, with LLaMA's spaces."""
    vocabulary = {piece: i for i, (piece, _) in enumerate(pieces)}
    if len(vocabulary) < len(pieces):
        raise ValueError("--tokenizer: a piece is there twice")
    merges = [
        (-score, i, piece[:cut], piece[cut:])
        for i, (piece, score) in enumerate(pieces)
        if piece not in SPECIAL
        for cut in range(1, len(piece))
        if piece[:cut] in vocabulary and piece[cut:] in vocabulary
    ]
    model = models.BPE(
        vocabulary,
        [(left, right) for _, _, left, right in sorted(merges)],
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    )
    made = tokenizers.Tokenizer(model)
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]
    )
    made.decoder = decoders.Sequence(
        [
            decoders.Replace(SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    special = [AddedToken(piece, special=True) for piece in SPECIAL if piece in vocabulary]
    made.add_special_tokens(special)
    return made


def adopted(content, rows, names):
    """A tokenizer.json for a model of so many `rows`, of the `content` of one.

    names: {id: what the piece is to be called}, fairseq's `</s>` for the end of a text, say. Rows
    without a piece get a madeupword. Begins and ends that it would add are left out. Raises
    ValueError for pieces without a row, unless they were added later, and names that another has.
    """
    known, own = pieces(content), vocabulary(content)
    model, added = content["model"], content.get("added_tokens") or []
    beyond = [i for i in own.values() if i >= rows]
    if beyond:
        raise ValueError(
            f"--tokenizer: its pieces go up to {max(beyond):,}, and the model has {rows:,} rows: "
            "name the model's own"
        )
    taken = {piece: i for i, piece in known.items()}
    for i, name in names.items():
        if taken.get(name, i) != i:
            raise ValueError(
                f"--tokenizer: {known.get(i)!r} would be {name}, which the piece {taken[name]} "
                "is: name --eos, --bos and --pad"
            )
    renamed = {known[i]: name for i, name in names.items() if i in known}
    if isinstance(model["vocab"], dict):
        model["vocab"] = {renamed.get(piece, piece): i for piece, i in model["vocab"].items()}
    else:
        model["vocab"] = [[renamed.get(piece, piece), score] for piece, score in model["vocab"]]
    if model.get("unk_token") in renamed:
        model["unk_token"] = renamed[model["unk_token"]]
    for token in added:
        token["content"] = renamed.get(token["content"], token["content"])
    added = [token for token in added if token["id"] < rows]
    free = (name for name in (f"madeupword{n:04d}" for n in count()) if name not in taken)
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    for i in (i for i in range(rows) if i not in known):
        piece = names.get(i) or next(free)
        if i < max(own.values()):
            model["vocab"][piece] = i
        else:
            added.append({"id": i, "content": piece, "special": True, **flags})
    content["added_tokens"] = sorted(added, key=lambda token: token["id"])
    content.update(post_processor=None, truncation=None, padding=None)
    pieces(content)
    return content


def vocabulary(content):
    """{piece: id} of the model in a tokenizer.json, without what was added. Raises ValueError."""
    vocab = content["model"]["vocab"]
    own = dict(vocab) if isinstance(vocab, dict) else {p: i for i, (p, _) in enumerate(vocab)}
    if len(own) < len(vocab):
        raise ValueError("--tokenizer: a piece is there twice")
    return own


def pieces(content):
    """{id: piece} of a tokenizer.json. Raises ValueError if the library numbers them otherwise."""
    added = content.get("added_tokens") or []
    known = {**vocabulary(content), **{token["content"]: token["id"] for token in added}}
    loaded = Tokenizer.from_str(json.dumps(content)).get_vocab()
    made = {i: piece for piece, i in known.items()}
    for piece, i in known.items():
        if loaded.get(piece) != i or made[i] != piece:
            raise ValueError(
                f"--tokenizer: {piece!r} has the id {i} there, which is another's as well, or the "
                f"library tokenizers makes {loaded.get(piece)} of it: give every id one piece"
            )
    return made


def save(content, path):
    Path(path).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
