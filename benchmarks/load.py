"""An open-loop HTTP client: ``python -m benchmarks.load PORT RATE SECONDS``.

Request k is due at k / RATE whether or not earlier ones were answered, and its latency counts from
then, so a stalled server cannot hide behind a client that waits for it (coordinated omission).
Threads that sleep and block, one keep-alive connection each: an event loop's timers tick in whole
milliseconds, which is as much as the latencies measured. ``late`` tells how late the client itself
was, which is what the rest of the machine did to the measurement.
"""

import gc
import json
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass

LANES = 32
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
#: Seconds any one answer may take.
PATIENCE = 30.0


def _answer(connection: socket.socket) -> bytes:
    """One whole response with a Content-Length; its status line."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65_536) or _gone()
    head, _, body = received.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    length = int(fields[b"content-length"])
    while len(body) < length:
        body += connection.recv(65_536) or _gone()
    return head.split(b"\r\n", 1)[0]


def _gone() -> bytes:
    raise ConnectionError("the server closed the connection")


@dataclass(slots=True)
class Plan:
    """When requests are due, and what became of each; all in seconds."""

    port: int
    start: float
    rate: float
    latencies: list[float]
    late: list[float]


def _lane(index: int, plan: Plan) -> None:
    with socket.create_connection(("127.0.0.1", plan.port), PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(index, len(plan.latencies), LANES):
            due = plan.start + number / plan.rate
            time.sleep(max(0.0, due - time.perf_counter()))
            plan.late[number] = time.perf_counter() - due
            connection.sendall(REQUEST)
            if b" 200 " not in _answer(connection):
                raise ConnectionError("the server did not answer 200")
            plan.latencies[number] = time.perf_counter() - due


def main() -> None:
    port, rate, seconds = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    gc.disable()
    count = int(rate * seconds)
    plan = Plan(port, time.perf_counter() + 0.2, rate, [-1.0] * count, [0.0] * count)
    lanes = [threading.Thread(target=_lane, args=(index, plan)) for index in range(LANES)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    result = {"event": "result"} | asdict(plan)
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
