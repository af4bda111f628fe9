"""``drain`` in Django's own test classes: with the test's transaction, and with real commits."""

from django.contrib.auth.models import Group
from django.db import transaction
from django.test import TestCase, TransactionTestCase, override_settings

from tests.django import sample
from tests.testing.test_drain import names
from vtasks_asgi.testing import adrain, drain, memory_tasks


class InTestCase(TestCase):
    """The tasks see the test's transaction; nothing is left for the next test."""

    def setUp(self) -> None:
        self.backend = self.enterContext(memory_tasks())

    def test_sync(self) -> None:
        Group.objects.create(name="mine")
        sample.writes.enqueue("its")
        sample.awrites.enqueue("other")
        drain(raise_errors=True)
        self.assertEqual(Group.objects.count(), 3)

    async def test_async(self) -> None:
        await Group.objects.acreate(name="mine")
        await sample.writes.aenqueue("its")
        await sample.awrites.aenqueue("other")
        await adrain(raise_errors=True)
        assert await Group.objects.acount() == 3

    def test_a_rollback_takes_the_enqueue_back(self) -> None:
        with self.assertRaises(ZeroDivisionError), transaction.atomic():
            sample.note.enqueue("x")
            raise ZeroDivisionError
        self.assertEqual(drain(), [])


@override_settings(TASKS={"default": {"BACKEND": "vtasks_asgi.backends.memory.MemoryTaskBackend"}})
class OfSettings(TestCase):
    """The settings name the backend: each test's enqueues go with its transaction."""

    def drained(self) -> None:
        self.assertEqual(drain(), [])
        sample.note.enqueue("x")
        self.assertEqual(names(drain()), ["note"])
        sample.note.enqueue("left behind")

    def test_one(self) -> None:
        self.drained()

    def test_two(self) -> None:
        self.drained()


class InTransactionTestCase(TransactionTestCase):
    """Real commits, and the project's own store."""

    def test_the_store_itself(self) -> None:
        with transaction.atomic():
            sample.writes.enqueue("x")
        self.assertEqual(names(drain(raise_errors=True)), ["writes"])
        self.assertEqual(Group.objects.count(), 1)

    def test_the_memory(self) -> None:
        with memory_tasks():
            with self.assertRaises(ZeroDivisionError), transaction.atomic():
                sample.note.enqueue("x")
                raise ZeroDivisionError
            with transaction.atomic():
                sample.writes.enqueue("y")
            self.assertEqual(names(drain(raise_errors=True)), ["writes"])
