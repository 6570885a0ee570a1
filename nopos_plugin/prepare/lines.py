"""The contents of a file, compressed or not, in blocks that end where a document may end."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import zstandard

BLOCK = 2**20  # bytes of a block, unless one document has more
LONGEST = 2**25  # bytes in which a document ends, or it is too long for the memory
READ = 2**18  # bytes that are read of the file at a time
PIECE = 2**12  # bytes that are decompressed at a time: they may become many


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
    """Blocks of the file at `path`: .zst, .gz, or anything else as it is.

    ends: where the last document that is whole in so many bytes ends, 0 if none is. too_long: what
    stands for the first LONGEST bytes of a document of more, or a ValueError. seen: called with the
    bytes of the file as they are read. Raises ValueError if the file is damaged or cut short.
    """
    kept, size, wanted = [], 0, BLOCK
    with path.open("rb") as file, readable(path):
        for data in decompressed(path, file, seen):
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
    pieces = iter(lambda: file.read(READ), b"")
    if path.suffix == ".zst":
        return frames(pieces, seen, lambda: zstandard.ZstdDecompressor().decompressobj())
    if path.suffix == ".gz":
        return frames(pieces, seen, lambda: zlib.decompressobj(16 + zlib.MAX_WBITS))
    return (seen(piece) or piece for piece in pieces)


def frames(pieces, seen, new):
    """What is compressed in frames, one after the other; `new` makes what decompresses one."""
    frame = None
    for piece in pieces:
        seen(piece)
        parts = [piece[begin : begin + PIECE] for begin in range(0, len(piece), PIECE)][::-1]
        while parts:
            frame = frame or new()
            data = frame.decompress(parts.pop())
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
        raise ValueError(f"{path} is damaged ({error}): get it again") from error
