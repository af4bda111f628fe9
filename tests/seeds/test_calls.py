"""Defining and enqueueing, on each store: what is enqueued, and what then runs."""

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.http import JsonResponse
from django.tasks import task_backends

from tests.django.helpers import run
from tests.seeds import world
from tests.seeds.samples import await_sample, sample, step_through, user
from tests.seeds.world import SEEN
from vtasks_asgi.testing import enqueued

pytestmark = pytest.mark.usefixtures("store")

NAMES: dict[str, Any] = vars(world.myapp) | {"user_id": 7, "user": user(7)}
USERS: dict[str, Any] = {"user1": user(1), "user2": user(2)}
SENT = [("default", "process_user"), ("default", "process_user"), ("low_priority", "cleanup_job")]


def sent() -> list[tuple[str, str]]:
    """Queue and task of what is enqueued, in no order that would tell anything."""
    return sorted((each.task.queue_name, each.task.name) for each in enqueued())


def test_the_articles_view() -> None:
    view = async_to_sync(world.article.process_widget_view)
    for _ in range(2):
        view(None, id=5)
    [waiting] = enqueued()
    assert waiting.task.priority == 10
    run(1)
    assert SEEN == [5]


@pytest.mark.parametrize(
    "view",
    [world.my_views.register_sync, async_to_sync(world.my_views.register_async)],
    ids=["sync", "async"],
)
def test_the_readmes_views(view: Callable[[Any], Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert view(None).content == b"User created."
    run(1)
    assert "Sent welcome email to user7@example.com\n" in capsys.readouterr().out


def test_the_readmes_bulk() -> None:
    assert async_to_sync(world.bulk_views.dispatch_many_tasks)(None).status_code == 200
    assert sent() == SENT
    run(3)
    assert sorted(SEEN, key=str) == [1, 2, "cleanup_job"]


def test_its_synchronous_half_in_a_transaction() -> None:
    marked = "    # "
    lines = [line for line in sample("readme/bulk").splitlines() if line.startswith(marked)]
    start = lines.index("    # from django.db import transaction")
    code = "\n".join(line.removeprefix(marked) for line in lines[start:])
    given: list[Any] = [(world.myapp.process_user, (1,), {}), (world.myapp.cleanup_job, (), {})]
    given[1][2]["queue_name"] = "low_priority"
    names = {"task_backends": task_backends, "tasks_to_send": given}
    exec(code, names)
    assert sent() == [SENT[0], SENT[2]]
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        exec(code, names)
        raise ZeroDivisionError
    assert sent() == [SENT[0], SENT[2]]


def test_the_guides_tasks() -> None:
    world.guide.send_email.enqueue("user@example.com", "Hello", "Welcome!")
    result = world.guide.process_image.enqueue(image_id=1)
    run(2)
    result.refresh()
    assert str(result.status) == "SUCCESSFUL"


def test_enqueue() -> None:
    step_through("guide/enqueue")
    run(2)
    assert SEEN == [["user@example.com", "Hello", "Welcome!"]] * 2


def test_using() -> None:
    for _ in range(2):  # the last of the three is unique
        await_sample("guide/using", **NAMES)
    found = sorted((each.task.queue_name, each.task.priority) for each in enqueued())
    assert found == [("default", 10)] * 2 + [("emails", 0)] * 2 + [("high-priority", 10)]


def test_bulk() -> None:
    """The two of them are alternatives, so here they are enqueued twice."""
    step_through("guide/bulk", **USERS)
    assert sent() == sorted(SENT * 2)


def test_mutex() -> None:
    names = await_sample("guide/mutex", **NAMES)
    assert names["result"].args == ["user@example.com", "Welcome", "..."]
    assert names["result2"] is None
    run(1)
    assert await_sample("guide/mutex", **NAMES)["result"] is not None


def test_a_key_of_its_own() -> None:
    keys = [await_sample("guide/unique-key", **NAMES | {"user_id": id}) for id in (7, 7, 8)]
    assert [names["result"] is None for names in keys] == [False, True, False]


def test_throttling() -> None:
    await_sample("guide/throttling", **NAMES)
    run(1)
    await_sample("guide/throttling", **NAMES)
    assert enqueued() == []
    await_sample("guide/throttling", **NAMES | {"user_id": 8})
    run(1)
    assert SEEN == [7, 8]


def test_rejections() -> None:
    names = NAMES | {"JsonResponse": JsonResponse}
    answers = [await_sample("guide/rejections", **names) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]


def test_priority() -> None:
    """The low one is enqueued first here, and runs last."""
    world.myapp.send_email.using(priority=-10).enqueue("low")
    await_sample("guide/priority", **NAMES)
    assert sorted(each.task.priority for each in enqueued()) == [-10, -10, 10]
    run(3, concurrency=1)
    assert SEEN == [[7], ["low"], [7]]
