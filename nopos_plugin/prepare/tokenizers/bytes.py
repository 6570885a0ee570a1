"""A token a byte of UTF-8. Any text comes back from its tokens."""

from dataclasses import dataclass

import numpy as np

from nopos_plugin.prepare.tokenizers.base import NEWLINE, SPECIAL, Tokenizer, valid
from nopos_plugin.prepare.tokenizers.registry import register

SYMBOLS = [chr(byte) if 0x20 < byte < 0x7F else f"<{byte:02x}>" for byte in range(256)]
BYTES = {symbol: byte for byte, symbol in enumerate(SYMBOLS)}


@register("bytes")
@dataclass
class Bytes(Tokenizer):
    """Visible ASCII stands for itself, another byte is <20> (a space), <0a> (a newline), <c3> ...

    Byte b has index b + 4, whatever the text. Newline and full stop are always of their own.
    """

    library = f"numpy {np.__version__}"
    symbols = SYMBOLS
    separators = (NEWLINE, ".")

    def encode(self, texts):
        made = [np.frombuffer(valid(text).encode(), dtype=np.uint8) for text in texts]
        return [tokens.astype(np.uint16) + np.uint16(len(SPECIAL)) for tokens in made]

    def decode(self, symbols):
        spelled = bytes(BYTES[symbol] for symbol in symbols if symbol in BYTES)
        return spelled.decode(errors="replace")
