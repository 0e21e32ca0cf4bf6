"""permessage-deflate (RFC 7692), as an extension of wsproto, with a bound on what it inflates to.

wsproto: its own class has no such bound, lets junk in a header out as a bare `ValueError`, and ignores parameters that
it does not know.

How far a message may grow is up to the session: it sets `limit` and feeds compressed bytes in portions; a portion is
inflated to what `limit` leaves, and not a byte further than the one that tells that it is too much.
"""

from __future__ import annotations

import re
import zlib
from typing import Any, Final

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from .._compression import Deflate

__all__ = ["MAX_RATIO", "PerMessageDeflate"]

MAX_RATIO: Final = 1040  # one byte inflates to at most 1,032: 258 bytes out of two bits; the rest is for bits before it

TAIL: Final = b"\x00\x00\xff\xff"  # §7.2.1: what a sender takes off the end of a message
EMPTY: Final = b"\x00"  # §7.2.3.6: a message, or the rest of one, in which there is nothing more
LAST_BLOCK: Final = b"\x03\x00"  # a block that ends the stream, and inflates to nothing

# Blocks in one message that end the whole stream of deflate (§7.2.3.5). A real compressor makes one for a message, or
# for a fragment; each costs a new decompressor, which makes thousands of them an attack.
MAX_FINAL_BLOCKS: Final = 256

PARAMETER: Final = re.compile(
    r"\s*(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*"
    r'(?:=\s*(?:(?P<token>[!#$%&\'*+.^_`|~0-9A-Za-z-]+)|"(?P<quoted>[!#$%&\'*+.^_`|~0-9A-Za-z-]+)")\s*)?'
)
WINDOW_BITS: Final = re.compile(r"8|9|1[0-5]")  # §7.1.2: no leading zeros

SERVER_BITS: Final = "server_max_window_bits"
CLIENT_BITS: Final = "client_max_window_bits"
SERVER_ALONE: Final = "server_no_context_takeover"
CLIENT_ALONE: Final = "client_no_context_takeover"


class PerMessageDeflate(Extension):
    """Compression of one connection: its negotiation, then its messages.

    Attributes:
        limit: the most bytes that the message being received may inflate to; `None`: no limit.
        inflated: the bytes that it has inflated to so far.
    """

    name = "permessage-deflate"

    def __init__(self, wanted: Deflate, *, client: bool) -> None:
        self._wanted = wanted
        self._client = client
        self._agreed = False
        self._bits = {SERVER_BITS: 15, CLIENT_BITS: 15}
        self._alone = {SERVER_ALONE: False, CLIENT_ALONE: False}
        self.limit: int | None = None
        self.inflated = 0
        self._is_data = False  # the frame being received carries a part of a message
        self._is_compressed = False  # the message being received is compressed
        self._is_blank = True  # and no byte of it has come
        self._is_compressing = False  # the message being sent is compressed
        self._final_blocks = 0  # of it so far
        self._compressor: Any = None  # zlib does not tell the names of its types
        self._decompressor: Any = None

    def __repr__(self) -> str:
        return f"<{self.name} {'; '.join(self._parameters())}>" if self._agreed else f"<{self.name}, not agreed on>"

    def enabled(self) -> bool:
        """Tell whether both sides agreed on it."""
        return self._agreed

    def forget(self) -> None:
        """Let go of the windows: nothing is sent or received any more."""
        self._compressor = self._decompressor = None

    # -- the opening handshake (§7.1) ------------------------------------------------------------------------------

    def offer(self) -> str:
        """Return what the client asks for."""
        parameters = [CLIENT_BITS]  # a hint: the server may give it a value
        if self._wanted.client_max_window_bits < 15:
            parameters = [f"{CLIENT_BITS}={self._wanted.client_max_window_bits}"]
        if self._wanted.server_max_window_bits < 15:
            parameters.append(f"{SERVER_BITS}={self._wanted.server_max_window_bits}")
        parameters += [name for name in (SERVER_ALONE, CLIENT_ALONE) if getattr(self._wanted, name)]
        return "; ".join(parameters)

    def accept(self, offer: str) -> str | None:
        """Return what the server makes of *offer*: parameters, or `None` if it declines."""
        if self._agreed:
            return None  # an earlier offer, which the client likes better
        try:
            asked = read_parameters(offer)
        except ValueError:
            return None
        self._bits[SERVER_BITS] = min(int(asked.get(SERVER_BITS) or 15), self._wanted.server_max_window_bits)
        if CLIENT_BITS in asked:
            self._bits[CLIENT_BITS] = min(int(asked[CLIENT_BITS] or 15), self._wanted.client_max_window_bits)
        for name in (SERVER_ALONE, CLIENT_ALONE):
            self._alone[name] = name in asked or getattr(self._wanted, name)
        self._agreed = True
        return "; ".join(self._parameters(always=frozenset(asked) & {SERVER_BITS}))

    def finalize(self, offer: str) -> None:
        """Take in what the server answered to our offer.

        Raises:
            ValueError: it is no answer to that.
        """
        if self._agreed:
            raise ValueError(f"{self.name} is accepted twice")
        agreed = read_parameters(offer)
        if CLIENT_BITS in agreed and agreed[CLIENT_BITS] is None:
            raise ValueError(f"{self.name}: the server gives {CLIENT_BITS} no value")
        for name in (SERVER_BITS, CLIENT_BITS):
            self._bits[name] = int(agreed.get(name) or 15)
        for name in (SERVER_ALONE, CLIENT_ALONE):
            self._alone[name] = name in agreed
        # What we asked of the server has to come back (§7.1.1.1, §7.1.2.1). What it says of us may be tighter than
        # what we asked for, not looser (§7.1.2.2); without a word of it, we may do as we like.
        if self._wanted.server_no_context_takeover and not self._alone[SERVER_ALONE]:
            raise ValueError(f"{self.name}: the server does not agree to {SERVER_ALONE}")
        for name in (SERVER_BITS, CLIENT_BITS):
            wanted: int = getattr(self._wanted, name)
            if self._bits[name] > wanted and (name == SERVER_BITS or name in agreed):
                raise ValueError(f"{self.name}: the server does not agree to {name}={wanted}")
        self._bits[CLIENT_BITS] = min(self._bits[CLIENT_BITS], self._wanted.client_max_window_bits)
        self._alone[CLIENT_ALONE] = self._alone[CLIENT_ALONE] or self._wanted.client_no_context_takeover
        self._agreed = True

    def _parameters(self, always: frozenset[str] = frozenset()) -> list[str]:
        parameters = [name for name, alone in self._alone.items() if alone]
        return parameters + [f"{name}={bits}" for name, bits in self._bits.items() if bits < 15 or name in always]

    # -- receiving (§7.2.2) ----------------------------------------------------------------------------------------

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """Note what begins; tell which reserved bits may be set."""
        self._is_data = not opcode.iscontrol()
        may_be_compressed = self._is_data and opcode is not Opcode.CONTINUATION
        if may_be_compressed:
            self._is_compressed = rsv.rsv1
            self._is_blank = True
            self.inflated = self._final_blocks = 0
        return RsvBits(rsv1=may_be_compressed, rsv2=False, rsv3=False)

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        """Inflate a portion of a payload."""
        if not (data and self._is_data and self._is_compressed):
            return data
        self._is_blank = False
        return self._inflate(data)

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        """See to the end of a message."""
        if not (fin and self._is_data and self._is_compressed):
            return None
        if not (self._is_blank or self._is_whole()):
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        if self._alone[SERVER_ALONE if self._client else CLIENT_ALONE]:
            self._decompressor = None
        return None

    def _is_whole(self) -> bool:
        """Put back what a sender takes off the end of a message (§7.2.2); tell whether it ends with a block there."""
        if self._decompressor is None:
            return True  # its last block ended the stream
        try:
            more = self._decompressor.decompress(TAIL, 1)
            probe = self._decompressor.copy()  # zlib does not tell whether it is inside a block
            return not (more or probe.eof or probe.decompress(LAST_BLOCK, 1)) and probe.eof
        except zlib.error:
            return False

    def _inflate(self, data: bytes) -> bytes | CloseReason:
        pieces: list[bytes] = []
        while self._final_blocks <= MAX_FINAL_BLOCKS:
            if self._decompressor is None:
                bits = self._bits[SERVER_BITS if self._client else CLIENT_BITS]
                self._decompressor = zlib.decompressobj(-max(bits, 9))  # compressors that say 8 are known to use 9
            room = 0 if self.limit is None else self.limit - self.inflated + 1  # 0 is no bound
            try:
                piece = self._decompressor.decompress(data, room)
            except zlib.error:
                return CloseReason.INVALID_FRAME_PAYLOAD_DATA
            self.inflated += len(piece)
            if self.limit is not None and self.inflated > self.limit:
                return CloseReason.MESSAGE_TOO_BIG
            pieces.append(piece)
            if not self._decompressor.eof:
                return b"".join(pieces)  # which is no copy of one piece
            data, self._decompressor = self._decompressor.unused_data, None
            self._final_blocks += 1
            if not data:
                return b"".join(pieces)
        return CloseReason.INVALID_FRAME_PAYLOAD_DATA

    # -- sending (§7.2.1) ------------------------------------------------------------------------------------------

    def frame_outbound(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool
    ) -> tuple[RsvBits, bytes]:
        """Compress a message, or a fragment of one so that the peer can inflate it at once."""
        if opcode.iscontrol():
            return rsv, data
        if opcode is not Opcode.CONTINUATION:
            bits = self._bits[CLIENT_BITS if self._client else SERVER_BITS]
            # zlib has no window of 8 bits; a message that is not compressed is always right
            self._is_compressing = bits > 8 and (not fin or len(data) >= self._wanted.threshold)
            rsv = RsvBits(self._is_compressing, rsv.rsv2, rsv.rsv3)
        return (rsv, self._compress(data, fin=fin)) if self._is_compressing else (rsv, data)

    def _compress(self, data: bytes, *, fin: bool) -> bytes:
        if self._compressor is None:
            bits = self._bits[CLIENT_BITS if self._client else SERVER_BITS]
            wanted = self._wanted
            self._compressor = zlib.compressobj(wanted.level, zlib.DEFLATED, -bits, wanted.memory_level)
        compressed: bytes = self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        if not fin:
            return compressed
        if self._alone[CLIENT_ALONE if self._client else SERVER_ALONE]:
            self._compressor = None
        return compressed[: -len(TAIL)] or EMPTY


def read_parameters(extension: str) -> dict[str, str | None]:
    """Read `permessage-deflate; name; name=value; ...`.

    Raises:
        ValueError: malformed, a name that RFC 7692 does not know, one that stands there twice, or a value that it
            cannot have.
    """
    parameters: dict[str, str | None] = {}
    for text in extension.split(";")[1:]:
        parameter = PARAMETER.fullmatch(text)
        if parameter is None:
            raise ValueError(f"malformed parameter of permessage-deflate: {text.strip()!r}")
        name, value = parameter["name"], parameter["token"] or parameter["quoted"]
        if name in parameters:
            raise ValueError(f"parameter of permessage-deflate twice: {name!r}")
        if name in (SERVER_BITS, CLIENT_BITS):
            is_legal = name == CLIENT_BITS if value is None else WINDOW_BITS.fullmatch(value) is not None
        else:
            is_legal = name in (SERVER_ALONE, CLIENT_ALONE) and value is None
        if not is_legal:
            raise ValueError(f"illegal parameter of permessage-deflate: {text.strip()!r}")
        parameters[name] = value
    return parameters
