"""The contents of a file, compressed or not, in blocks that end where a document may end."""

import codecs
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import zstandard

BLOCK = 2**20  # bytes of a block, unless one document has more
LONGEST = 2**25  # bytes in which a document ends, or it is too long for the memory
READ = 2**18  # bytes that are read of the file at a time
PIECE = 2**12  # bytes that are decompressed at a time: they may become many
ZST = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")  # a frame, or one to be skipped
GZ = re.compile(rb"\x1f\x8b")
WINDOW = 2**31  # bytes that a .zst may refer back to, the most there is (zstd --long=31)


def after_lines(data: bytes) -> int:
    """Where the last line that is whole ends, 0 if none is."""
    return data.rfind(b"\n") + 1


def too_long(data: bytes) -> bytes:
    raise ValueError(
        f"a document has more than {LONGEST:,} bytes: cut it in several (--documents lines, "
        "blank-lines or articles, or a file each)"
    )


def blocks(
    path: Path,
    ends: Callable[[bytes], int] = after_lines,
    too_long: Callable[[bytes], bytes] = too_long,
    seen: Callable[[bytes], object] = lambda data: None,
) -> Iterator[bytes]:
    """Blocks of the file at `path`, which its first bytes tell to be .zst, .gz, or text as it is.

    The mark at the begin of Windows' UTF-8 files is left out.
    ends: where the last document that is whole in so many bytes ends, 0 if none is. too_long: what
    stands for the first LONGEST bytes of a document of more, or a ValueError. seen: called with the
    bytes of the file as they are read. Raises ValueError if the file is damaged or cut short.
    """
    kept, size, wanted = [], 0, BLOCK
    with path.open("rb") as file, readable(path):
        for data in unmarked(decompressed(path, file, seen)):
            kept.append(data)
            size += len(data)
            if size < wanted:
                continue
            joined = b"".join(kept)
            end = ends(joined)
            if end:
                yield joined[:end]
            rest = joined[end:] if end or size <= LONGEST else too_long(joined)
            kept, size = [rest], len(rest)
            wanted = BLOCK if end else min(max(2 * size, BLOCK), LONGEST + 1)
    if size:
        yield b"".join(kept)


def decompressed(path, file, seen):
    """The contents of `file`, in pieces."""
    begin, suffix = file.peek(4)[:4], path.suffix.lower()
    pieces = iter(lambda: file.read(READ), b"")
    if ZST.match(begin):
        zstd = zstandard.ZstdDecompressor(max_window_size=WINDOW)
        return frames(pieces, seen, zstd.decompressobj)
    if GZ.match(begin):
        return frames(pieces, seen, lambda: zlib.decompressobj(16 + zlib.MAX_WBITS), b"\0")
    if begin and suffix in (".zst", ".gz"):
        raise EOFError(f"it does not begin as a {suffix} does")
    return (seen(piece) or piece for piece in pieces)


def unmarked(pieces):
    """`pieces`, bytes, without a mark of UTF-8 that the first of them begin with."""
    begin = b""
    for piece in pieces:
        begin += piece
        if len(begin) >= len(codecs.BOM_UTF8):
            break
    yield begin.removeprefix(codecs.BOM_UTF8)
    yield from pieces


def frames(pieces, seen, new, padding=b""):
    """What is compressed in frames, one after the other; `new` makes what decompresses one.

    padding: a byte that may fill what is before and behind them.
    """
    frame = None
    for piece in pieces:
        seen(piece)
        parts = [piece[begin : begin + PIECE] for begin in range(0, len(piece), PIECE)][::-1]
        while parts:
            part = parts.pop() if frame else parts.pop().lstrip(padding)
            if not part:
                continue
            frame = frame or new()
            data = frame.decompress(part)
            if data:
                yield data
            if frame.eof:
                parts += [frame.unused_data] if frame.unused_data else []
                frame = None
    if frame is not None:
        raise EOFError("it is cut short")


@contextmanager
def readable(path):
    """What is raised within for a file, as a ValueError that names it."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except (zstandard.ZstdError, zlib.error, EOFError) as error:
        raise ValueError(f"{path} is damaged ({error}): remove it and get it again") from error
