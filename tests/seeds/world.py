"""What the samples take for granted: the models, the apps with their tasks, and what these did."""

from types import SimpleNamespace
from typing import Any

from tests.seeds.samples import module, sample, user

#: What the tasks of the samples did, in order.
SEEN: list[Any] = []


class Users:
    """As much of a manager as the samples use; ``create(...)`` is called with an ellipsis."""

    def create(self, *args: Any) -> SimpleNamespace:
        return user(7)

    async def acreate(self, *args: Any) -> SimpleNamespace:
        return user(7)

    def get(self, *, id: int) -> SimpleNamespace:
        return user(id)


class Widgets:
    async def aget(self, *, pk: int) -> None:
        SEEN.append(pk)

    def filter(self, *, id__in: list[int]) -> "Widgets":
        SEEN.append(id__in)
        return self

    def update(self, *, processed: bool) -> None:
        SEEN.append(processed)


class User:
    objects = Users()


class Widget:
    objects = Widgets()


#: Tasks that the samples enqueue and never show; ``send_email`` takes what each of them gives it.
MORE_TASKS = """
from vtasks_asgi import task

@task
def send_email(*args):
    SEEN.append(list(args))

@task
async def fetch_data(user_id):
    SEEN.append(user_id)

@task
def process_user(user_id):
    SEEN.append(user_id)

@task
def cleanup_job():
    SEEN.append("cleanup_job")

@task
def report():
    SEEN.append("report")

@task
def cleanup():
    SEEN.append("cleanup")

@task
def my_task():
    SEEN.append("my_task")

@task
def process_batch(tasks):
    SEEN.append([task["kwargs"]["item_id"] for task in tasks])
"""

module("my_app.models", User=User)
my_app = module("my_app.tasks", sample("readme/tasks"))
my_views = module("my_app.views", sample("readme/views"), User=User)
sample_app = module("sample.tasks", sample("readme/batch-tasks"))
myapp = module("myapp.tasks", MORE_TASKS, SEEN=SEEN)
guide = module("guide.tasks", sample("guide/tasks"))
guide_batch = module(
    "guide.batch", f"from vtasks_asgi import task\n{sample('guide/batch-tasks')}", Widget=Widget
)
article = module("article.views", sample("article/view"), Widget=Widget)
module("bulk.tasks", "from myapp.tasks import process_user, cleanup_job")
bulk_views = module(
    "bulk.views",
    f"from django.http import HttpResponse\n{sample('readme/bulk')}",
    user1=user(1),
    user2=user(2),
)
