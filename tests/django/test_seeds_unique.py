"""The ancestor's own samples of unique tasks and bulk enqueueing: only their imports are changed.

Where we do better than the prose around them: ``docs/decisions/0012-unique-tasks.md``.
"""

import textwrap
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from tests.django import seed_tasks
from tests.django.conftest import Change
from tests.django.helpers import rows, run
from vtasks_asgi.db.models import Message, UniqueKey

IMPORTS = """
from django.http import HttpResponse, JsonResponse
from django.tasks import task_backends
from tests.django.seed_tasks import cleanup_job, fetch_data, process_user, send_email
"""


@pytest.fixture(autouse=True)
def queues(change: Change) -> None:
    name = "vtasks_asgi.backends.database.DatabaseTaskBackend"
    known = ["default", "low_priority", "high-priority"]
    change(TASKS={"default": {"BACKEND": name, "QUEUES": known}})


def play(sample: str, **names: Any) -> Any:
    """Run a sample in a coroutine, with these names; what it returns, or else its variables."""
    body = textwrap.indent(textwrap.dedent(sample), "    ")
    source = f"{IMPORTS}\nasync def sample():\n{body}\n    return locals()\n"
    scope: dict[str, Any] = {"user_id": 7, "user": SimpleNamespace(id=7), **names}
    exec(compile(source, "sample", "exec"), scope)
    return async_to_sync(scope["sample"])()


def test_combined_options() -> None:
    sample = """
        # Combine multiple options
        await send_email.using(
            queue_name="high-priority",
            priority=10,
            unique=True,
        ).aenqueue("admin@example.com", "Alert", "Important message")
    """
    play(sample)
    play(sample)
    stored = Message.objects.get()
    assert (stored.queue, stored.priority) == ("high-priority", 10)


def test_mutex_mode() -> None:
    names = play("""
        # Auto-generated unique key from task name + args
        result = await send_email.using(unique=True).aenqueue(
            "user@example.com", "Welcome", "..."
        )
        # If the task is already queued or running, this returns None
        result2 = await send_email.using(unique=True).aenqueue(
            "user@example.com", "Welcome", "..."
        )
        # result2 is None (rejected as duplicate)
    """)
    assert names["result"].args == ["user@example.com", "Welcome", "..."]
    assert names["result2"] is None
    assert rows()["messages"] == 1


def test_custom_unique_keys() -> None:
    sample = """
        result = await send_email.using(
            unique=True,
            unique_key=f"email-user-{user_id}"
        ).aenqueue("user@example.com", "Welcome", "...")
    """
    assert play(sample)["result"] is not None
    assert play(sample)["result"] is None
    assert play(sample, user_id=8)["result"] is not None


def test_throttling_mode() -> None:
    """On a database, too."""
    sample = """
        # Only allow 1 API call per 60 seconds
        await fetch_data.using(
            unique=True,
            unique_key=f"api-fetch-{user_id}",
            ttl=60,
            remove_unique_on_complete=False, # Throttle mode
        ).aenqueue(user_id)
    """
    play(sample)
    run(1, queues=["default"])
    play(sample)
    assert rows() == {"messages": 0, "results": 1, "dead": 0}
    UniqueKey.objects.update(until=0.0)  # as if 60 seconds had passed
    play(sample)
    assert rows()["messages"] == 1


def test_handling_rejections() -> None:
    sample = """
        result = await send_email.using(unique=True).aenqueue(user.id)
        if result is None:
            # Task was rejected (duplicate found)
            return JsonResponse({"error": "Email already being sent"}, status=429)
        else:
            # Task was enqueued successfully
            return JsonResponse({"task_id": result.id})
    """
    assert [play(sample).status_code for _ in range(2)] == [200, 429]


BULK = """
    tasks_to_send = [
        # (task, args, kwargs)
        (process_user, (user1.id,), {}),
        (process_user, (user2.id,), {}),
        (cleanup_job, (), {"queue_name": "low_priority"}),
    ]
"""
USERS: dict[str, Any] = {"user1": SimpleNamespace(id=1), "user2": SimpleNamespace(id=2)}
SENT = [("default", "process_user"), ("default", "process_user"), ("low_priority", "cleanup_job")]


def sent() -> list[tuple[str, str]]:
    """Queue and task of each message."""
    found = []
    for message in Message.objects.order_by("seq"):
        result = seed_tasks.send_email.get_backend().get_result(message.uid)
        found.append((message.queue, result.task.name))
    return found


def test_bulk_in_an_async_view() -> None:
    play(
        BULK
        + """
    # Use aenqueue_many in async contexts
    await task_backends["default"].aenqueue_many(tasks_to_send)
    return HttpResponse("Dispatched many tasks.")
    """,
        **USERS,
    )
    assert sent() == SENT


def test_bulk_in_a_transaction() -> None:
    sample = """
        # Use enqueue_many in sync contexts, usually within a transaction
        from django.db import transaction
        with transaction.atomic():
            task_backends["default"].enqueue_many(tasks_to_send)
    """
    exec(IMPORTS + textwrap.dedent(sample), play(BULK, **USERS))
    assert sent() == SENT


def test_a_queue_among_the_arguments() -> None:
    """As the batch sample has it."""
    sample = """
        # Enqueueing multiple tasks to the batch_queue
        for i in range(10):
            process_user.enqueue(user_id=i, queue_name="low_priority")
    """
    exec(IMPORTS + textwrap.dedent(sample), {})
    assert sent() == [("low_priority", "process_user")] * 10
