"""The tasks that the samples of ``test_seeds_unique.py`` name."""

from typing import Any

from vtasks_asgi import task


@task
def send_email(*args: Any) -> None: ...


@task
async def fetch_data(user_id: int) -> None: ...


@task
def process_user(user_id: int) -> None: ...


@task
def cleanup_job() -> None: ...
