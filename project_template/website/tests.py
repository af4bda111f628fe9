"""Tests of the example application: `python manage.py test`. They need no server and no queue."""

import os
from unittest import mock

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.tasks import TaskContext, task_backends
from django.test import SimpleTestCase, TestCase, override_settings
from django.urls import reverse

from config import env
from website import progress, tasks
from website.models import Job, Tick

# Runs each task within enqueue() and keeps no results: enough to test what the page does.
IMMEDIATE = {"default": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"}}


@override_settings(TASKS=IMMEDIATE)
class PageTests(TestCase):
    async def test_page_shows_the_buttons_and_the_jobs(self) -> None:
        await Job.objects.acreate(result_id="1", kind=Job.Kind.COUNT)
        response = await self.async_client.get(reverse("home"))
        self.assertContains(response, "Submit work")
        self.assertContains(response, "Count to ten", count=2)
        self.assertIn("default-src 'self'", response.headers["Content-Security-Policy"])

    async def test_status_counts_ticks(self) -> None:
        tick = await Tick.objects.acreate()
        state = (await self.async_client.get(reverse("status"))).json()
        self.assertEqual((state["tick"], state["schedule"]), (str(tick.pk), "ticking"))

    async def test_a_schedule_that_stopped_is_noticed(self) -> None:
        tick = await Tick.objects.acreate()
        later = progress.STARTED + progress.QUIET * 2
        self.assertEqual(progress.describe_tick(None, later)["schedule"], "quiet")
        self.assertEqual(progress.describe_tick(tick, later + progress.QUIET)["schedule"], "quiet")
        self.assertEqual(progress.describe_tick(tick, tick.at)["schedule"], "ticking")

    async def test_submitting_enqueues_and_remembers(self) -> None:
        with mock.patch("time.sleep"):
            response = await self.async_client.post(reverse("submit"), {"kind": "count"})
        self.assertRedirects(response, reverse("home"), fetch_redirect_response=False)
        job = await Job.objects.aget()
        self.assertEqual(job.kind, Job.Kind.COUNT)

    async def test_an_unknown_task_is_refused(self) -> None:
        response = await self.async_client.post(reverse("submit"), {"kind": "nonsense"})
        self.assertEqual(response.status_code, 400)
        self.assertFalse(await Job.objects.aexists())

    async def test_too_much_waiting_is_refused(self) -> None:
        busy = {"jobs": [], "waiting": str(progress.SHOWN), "running": "0"}
        with mock.patch("website.views.snapshot", return_value=busy):
            response = await self.async_client.post(reverse("submit"), {"kind": "hello"})
        self.assertEqual(response.status_code, 429)

    async def test_submitting_needs_the_csrf_token(self) -> None:
        client = self.async_client_class(enforce_csrf_checks=True)
        response = await client.post(reverse("submit"), {"kind": "hello"})
        self.assertEqual(response.status_code, 403)

    def test_only_the_newest_jobs_are_kept(self) -> None:
        Job.objects.bulk_create(Job(result_id=str(n), kind="hello") for n in range(5))
        Job.prune(keep=2)
        self.assertEqual([job.result_id for job in Job.objects.all()], ["4", "3"])


@override_settings(TASKS=IMMEDIATE)
class TaskTests(TestCase):
    """A task's own function is reached by `.func`; nothing is enqueued."""

    async def test_hello(self) -> None:
        with mock.patch("asyncio.sleep"):
            self.assertIn(str(os.getpid()), await tasks.hello.func())

    def test_count_reports_progress(self) -> None:
        Job.objects.create(result_id="7", kind=Job.Kind.COUNT)
        with mock.patch("time.sleep") as pause:
            tasks.count.func(context("7"))
        self.assertEqual((Job.objects.get().progress, pause.call_count), (100, 10))

    async def test_flaky_succeeds_at_the_third_attempt(self) -> None:
        with mock.patch("asyncio.sleep"):
            for attempt in (1, 2):
                with self.assertRaises(RuntimeError):
                    await tasks.flaky.func(context("7", attempt))
            self.assertIn("third time lucky", await tasks.flaky.func(context("7", 3)))

    def test_heartbeats_are_bounded(self) -> None:
        for _ in range(tasks.KEPT_TICKS + 5):
            tasks.heartbeat.func()
        self.assertEqual(Tick.objects.count(), tasks.KEPT_TICKS)

    def test_clear_sessions(self) -> None:
        tasks.clear_sessions.func()


class RealQueueTests(TestCase):
    """With the project's own backend: what is enqueued waits, for no worker runs in tests."""

    def test_an_enqueued_task_is_ready(self) -> None:
        result = tasks.hello.enqueue()
        found = task_backends["default"].get_result(result.id)
        self.assertEqual(progress.state_of(found), "ready")


class ProjectTests(TestCase):
    def test_migrations_are_complete(self) -> None:
        call_command("makemigrations", check=True, dry_run=True, verbosity=0)

    def test_admin_lists_jobs(self) -> None:
        self.client.force_login(get_user_model().objects.create_superuser("root"))
        Job.objects.create(result_id="1", kind=Job.Kind.FLAKY)
        response = self.client.get(reverse("admin:website_job_changelist"))
        self.assertContains(response, "Fail twice")

    def test_the_first_superuser_comes_from_the_environment_once(self) -> None:
        given = {"DJANGO_SUPERUSER_USERNAME": "root", "DJANGO_SUPERUSER_PASSWORD": "a-password"}
        with mock.patch.dict(os.environ, given):
            call_command("ensure_superuser", verbosity=0)
            call_command("ensure_superuser", verbosity=0)
        self.assertTrue(get_user_model().objects.get().check_password("a-password"))


class EnvironmentTests(SimpleTestCase):
    def test_database_urls(self) -> None:
        postgres = env.database("postgres://me:p%40ss@db:5433/site?sslmode=require", {})
        self.assertEqual(postgres["ENGINE"], "django.db.backends.postgresql")
        self.assertEqual((postgres["PASSWORD"], postgres["PORT"]), ("p@ss", 5433))
        self.assertEqual(postgres["OPTIONS"], {"sslmode": "require"})
        sqlite = env.database("sqlite:////srv/data/db.sqlite3", {"timeout": 20})
        self.assertEqual(
            (sqlite["NAME"], sqlite["OPTIONS"]["timeout"]), ("/srv/data/db.sqlite3", 20)
        )

    def test_wrong_values_name_the_variable(self) -> None:
        with mock.patch.dict(os.environ, {"DEBUG": "maybe"}):
            self.assertRaisesMessage(
                ImproperlyConfigured, "DEBUG", env.flag, "DEBUG", default=False
            )
        with self.assertRaisesMessage(ImproperlyConfigured, "DATABASE_URL"):
            env.database("oracle://db/site", {})
        with self.assertRaisesMessage(ImproperlyConfigured, "SITE_URL"):
            env.origin("SITE_URL", "example.org")


def context(result_id: str, attempt: int = 1) -> TaskContext:
    """What a task with takes_context gets as its first argument."""
    result = mock.Mock(id=result_id, attempts=attempt)
    return TaskContext(task_result=result)
