"""Unique keys: from a text, or from a call, to the 64 hexadecimal digits that stores keep."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import orjson


def key_of_text(text: str) -> str:
    """SHA-256 of the text in UTF-8: a key of any length, in any script, fits every store."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def key_of_call(task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The key of a call as such: equal calls have equal keys.

    It is the key of a text, the JSON array of name, args and kwargs: no spaces, the keys of all
    objects sorted. Arguments must have passed ``check_json``. ``f(1)`` and ``f(a=1)`` differ, and
    so do 1 and 1.0, as they do in the envelope.
    """
    return sha256(orjson.dumps([task, args, kwargs], option=orjson.OPT_SORT_KEYS)).hexdigest()
