"""``manage.py runworker``: the runtime with no web server."""

import asyncio
import logging
import os
import signal
import sys
import threading
from argparse import ArgumentParser
from contextlib import ExitStack
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from vtasks_asgi.assembly import assemble
from vtasks_asgi.conf import debug, options
from vtasks_asgi.exceptions import VTasksError
from vtasks_asgi.host import SHUTDOWN_MARGIN
from vtasks_asgi.management.loop import on_loop
from vtasks_asgi.observe.exporter import Exporter, through_loop
from vtasks_asgi.observe.health_file import HealthFile
from vtasks_asgi.observe.pages import Pages
from vtasks_asgi.runtime.runtime import Runtime

logger = logging.getLogger("vtasks_asgi")

#: Exit codes besides 0, stopped as asked, and 1, wrong configuration: the runtime died (EX_SOFTWARE
#: of sysexits.h), it could not stop in time (EX_TEMPFAIL), a second signal came while draining.
EXIT_DIED = 70
EXIT_LATE = 75
EXIT_INTERRUPTED = 130


class Command(BaseCommand):
    """Options override the settings of the same meaning."""

    help = "Runs tasks until it gets SIGTERM or SIGINT; a second signal does not wait for them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--queue", action="append", help="Queue to consume; repeatable. Default VTASKS_QUEUES."
        )
        parser.add_argument("--concurrency", type=int, help="Slots. Default VTASKS_CONCURRENCY.")
        parser.add_argument(
            "--scheduler", action="store_true", help="Also fire VTASKS_SCHEDULE from here."
        )
        parser.add_argument("--backend", help="Alias in TASKS. Default VTASKS_BACKEND.")
        parser.add_argument("--id", help="Worker id recorded with attempts. Default random.")
        parser.add_argument("--metrics-port", type=int, help="Serve metrics and health here.")
        parser.add_argument("--health-check-file", help="Touch this file while healthy.")

    def handle(self, *args: Any, **given: Any) -> None:
        if given["concurrency"] is not None and given["concurrency"] < 1:
            raise CommandError("--concurrency must be at least 1")
        try:
            runtime = assemble(
                backend=given["backend"],
                queues=given["queue"],
                concurrency=given["concurrency"],
                scheduler=bool(given["scheduler"]),
                worker=given["id"],
            )
            code = on_loop(
                self._serve(
                    runtime,
                    given["metrics_port"] or options().metrics_port,
                    given["health_check_file"] or options().health_check_file,
                )
            )
        except VTasksError as error:
            raise CommandError(str(error)) from error
        if code:
            sys.exit(code)

    async def _serve(self, runtime: Runtime, port: int | None, file: str | None) -> int:
        life = asyncio.create_task(runtime.run(), name="vtasks-runtime")
        last_resort = _leave_after(runtime.config.drain_timeout + SHUTDOWN_MARGIN)
        _obey_signals(runtime, life, last_resort)
        with ExitStack() as stack:
            stack.callback(last_resort.cancel)
            if port:
                health = through_loop(runtime.health, asyncio.get_running_loop())
                pages = Pages(health, token=options().health_token, debug=debug())
                exporter = Exporter(pages, port, options().metrics_address)
                exporter.start()
                stack.callback(exporter.close)
            if file:
                health_file = HealthFile(file, runtime.health)
                health_file.check()
                beating = asyncio.create_task(health_file.run())
                stack.callback(beating.cancel)
            self._greet(runtime)
            return await _outcome(life)

    def _greet(self, runtime: Runtime) -> None:
        pools = ", ".join(f"{'+'.join(p.queues)} ({p.size} slots)" for p in runtime.config.pools)
        self.stderr.write(f"vtasks_asgi worker {runtime.config.worker}: {pools}")


async def _outcome(life: "asyncio.Task[None]") -> int:
    try:
        await life
    except asyncio.CancelledError:
        return EXIT_INTERRUPTED
    except Exception:
        logger.critical("The task runtime died", exc_info=True)
        return EXIT_DIED
    return 0


def _obey_signals(
    runtime: Runtime, life: "asyncio.Task[None]", last_resort: threading.Timer
) -> None:
    asked = False

    def obey() -> None:
        nonlocal asked
        if asked:
            life.cancel()
        else:
            last_resort.start()
        asked = True
        runtime.close()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, obey)


def _leave_after(seconds: float) -> threading.Timer:
    """A store that hangs must not keep a worker that was told to stop: its leases will expire."""

    def leave() -> None:
        logger.critical("The worker could not stop in time; what it holds runs again elsewhere")
        os._exit(EXIT_LATE)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    return timer
