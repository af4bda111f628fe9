"""Fair share: messages of one fair key wait in one line, and the lines of a queue take turns."""

from hashlib import sha256

#: There are so many lines: with a priority above it the number is still exact in a double.
LINES = 2**45
#: The line of messages without a fair key, wherever lines take turns.
KEYLESS = -1


def line_of(text: str) -> int:
    """The number of a fair key's line: the first 45 bits of the SHA-256 of its UTF-8.

    Two keys that share a number share their turns, and nothing else: among 10,000 keys there are
    such two once in 700,000 times.
    """
    digest = sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6]) >> 3
