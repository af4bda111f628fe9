"""Fill the queue with ``count`` calls of ``task`` through the side's bulk call; not measured.

``payload`` is how many bytes of text each carries besides its number.
"""

import asyncio
import random
from typing import Any

from benchmarks.sides.base import Side

CHUNK = 2_000


async def main(side: Side, params: dict[str, Any]) -> None:
    size = params.get("payload", 0)
    # Noise, for nobody's compression shall help: four bits a character.
    noise = random.Random(0)
    payload = (f"{noise.getrandbits(4 * size):0{size}x}",) if size else ()
    count, task = params["count"], params["task"]
    for begin in range(0, count, CHUNK):
        calls = [(number, *payload) for number in range(begin, min(begin + CHUNK, count))]
        if side.enqueue_many is not None:
            await side.enqueue_many(task, calls)
        else:
            await asyncio.gather(*(side.enqueue(task, *call) for call in calls))
