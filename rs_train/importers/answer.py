"""How the reading process speaks: messages, each a JSON object, some followed by raw bytes.

The length of the JSON comes first, eight bytes, little-endian. Strings and numbers only: nothing in
an answer can name code, whatever happened to the process that wrote it.
"""

import json
from typing import IO, Any

_LENGTH_BYTES = 8
_MAX_BYTES = 1 << 20


def write_message(stream: IO[bytes], message: dict[str, Any]) -> None:
    """Write one message."""
    data = json.dumps(message).encode()
    stream.write(len(data).to_bytes(_LENGTH_BYTES, "little") + data)


def read_message(stream: IO[bytes]) -> dict[str, Any] | None:
    """Read one message; None if the stream ends, or does not hold one."""
    length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
    if not 0 < length <= _MAX_BYTES:
        return None
    data = stream.read(length)
    return json.loads(data) if len(data) == length else None
