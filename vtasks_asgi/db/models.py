"""The tables. Stores write them with their own SQL; nothing may call ``save()`` on a message,
for after a concurrent delete it would insert the row again.

All times are seconds since the epoch. A message's state is the table it is in, and within
``Message`` its ``state`` column; the partial indexes keep each state's index as small as the state.
"""

from typing import Any

from django.core.checks import CheckMessage
from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

READY, DELAYED, RUNNING, LINED = 0, 1, 2, 3
QUEUE, TASK = 0, 1

_REPLACED_INDEXES = frozenset({"models.W037", "models.W043"})


class Message(models.Model):
    """A live message: ready, delayed or running. ``LINED`` is ready too, in the line of its key."""

    class State(models.IntegerChoices):
        READY = READY, pgettext_lazy("Task", "Ready")
        DELAYED = DELAYED, pgettext_lazy("Task", "Delayed")
        RUNNING = RUNNING, pgettext_lazy("Task", "Running")
        LINED = LINED, pgettext_lazy("Task", "Ready, in line")

    seq = models.BigAutoField(primary_key=True)
    uid = models.CharField(max_length=64, unique=True)
    queue = models.CharField(max_length=100)
    state = models.SmallIntegerField(choices=State)
    priority = models.SmallIntegerField()
    created_at = models.FloatField()
    run_at = models.FloatField(null=True)
    attempt = models.IntegerField()
    crashes = models.IntegerField()
    token = models.CharField(max_length=40, null=True)
    worker = models.CharField(max_length=100, null=True)
    started_at = models.FloatField(null=True)
    lease_until = models.FloatField(null=True)
    body = models.BinaryField()
    history = models.BinaryField(null=True)
    unique_key = models.CharField(max_length=64, null=True)
    note = models.BinaryField(null=True)
    cancelled_at = models.FloatField(null=True)
    limit_key = models.CharField(max_length=64, null=True)
    limit_count = models.IntegerField(null=True)
    limit_interval = models.FloatField(null=True)
    line = models.BigIntegerField(null=True)

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        indexes = [
            models.Index(
                "queue",
                models.F("priority").desc(),
                "seq",
                condition=models.Q(state=READY),
                name="vtasks_message_ready",
            ),
            models.Index(
                fields=["queue", "run_at"],
                condition=models.Q(state=DELAYED),
                name="vtasks_message_delayed",
            ),
            models.Index(
                fields=["queue", "lease_until"],
                condition=models.Q(state=RUNNING),
                name="vtasks_message_running",
            ),
            models.Index(
                "queue",
                "limit_key",
                "state",
                "run_at",
                models.F("priority").desc(),
                "seq",
                condition=models.Q(limit_key__isnull=False),
                name="vtasks_message_limit",
            ),
            models.Index(
                "queue",
                models.F("priority").desc(),
                "line",
                "seq",
                condition=models.Q(state=LINED),
                name="vtasks_message_lined",
            ),
        ]

    @classmethod
    def check(cls, **kwargs: Any) -> list[CheckMessage]:
        """Without Django's warnings that MySQL ignores partial indexes: 0004, 0007 replace them."""
        return [each for each in super().check(**kwargs) if each.id not in _REPLACED_INDEXES]

    def __str__(self) -> str:
        return self.uid


class Result(models.Model):
    """A message that returned, for as long as its result is kept."""

    seq = models.BigAutoField(primary_key=True)
    uid = models.CharField(max_length=64, unique=True)
    queue = models.CharField(max_length=100)
    priority = models.SmallIntegerField()
    body = models.BinaryField()
    value = models.BinaryField(null=True)
    history = models.BinaryField(null=True)
    finished_at = models.FloatField()
    expires_at = models.FloatField()
    note = models.BinaryField(null=True)

    class Meta:
        verbose_name = _("result")
        verbose_name_plural = _("results")
        indexes = [models.Index(fields=["expires_at"], name="vtasks_result_expires")]

    def __str__(self) -> str:
        return self.uid


class DeadLetter(models.Model):
    """A message given up on, and why."""

    seq = models.BigAutoField(primary_key=True)
    uid = models.CharField(max_length=64, unique=True)
    queue = models.CharField(max_length=100)
    priority = models.SmallIntegerField()
    attempt = models.IntegerField()
    crashes = models.IntegerField()
    body = models.BinaryField()
    history = models.BinaryField(null=True)
    reason = models.CharField(max_length=200)
    finished_at = models.FloatField()
    unique_key = models.CharField(max_length=64, null=True)
    note = models.BinaryField(null=True)
    limit_key = models.CharField(max_length=64, null=True)
    limit_count = models.IntegerField(null=True)
    limit_interval = models.FloatField(null=True)
    line = models.BigIntegerField(null=True)

    class Meta:
        verbose_name = _("dead letter")
        verbose_name_plural = _("dead letters")
        indexes = [models.Index(fields=["queue", "seq"], name="vtasks_deadletter_queue")]

    def __str__(self) -> str:
        return self.uid


class UniqueKey(models.Model):
    """Who took a unique key last. It is held while that message lives, and before ``until``."""

    pk = models.CompositePrimaryKey("queue", "key")
    queue = models.CharField(max_length=100)
    key = models.CharField(max_length=64)
    uid = models.CharField(max_length=64)
    until = models.FloatField()

    class Meta:
        verbose_name = _("unique key")
        verbose_name_plural = _("unique keys")
        indexes = [models.Index(fields=["until"], name="vtasks_uniquekey_until")]

    def __str__(self) -> str:
        return self.key


class Limit(models.Model):
    """The pace of a limit's key, and whether messages wait for it. Its lock is the key's."""

    pk = models.CompositePrimaryKey("queue", "key")
    queue = models.CharField(max_length=100)
    key = models.CharField(max_length=64)
    tat = models.FloatField()
    held = models.BooleanField()

    class Meta:
        verbose_name = _("limit")
        verbose_name_plural = _("limits")
        indexes = [models.Index(fields=["queue", "held", "key"], name="vtasks_limit_held")]

    def __str__(self) -> str:
        return self.key


class Tick(models.Model):
    """The last tick of a schedule; whoever moves it forward has the right to fire."""

    schedule = models.CharField(max_length=200, primary_key=True)
    at = models.FloatField()

    class Meta:
        verbose_name = _("tick")
        verbose_name_plural = _("ticks")

    def __str__(self) -> str:
        return self.schedule


class Pause(models.Model):
    """A queue or a task that is paused: until then, or without a time until it is resumed."""

    class Kind(models.IntegerChoices):
        QUEUE = QUEUE, _("Queue")
        TASK = TASK, _("Task")

    pk = models.CompositePrimaryKey("kind", "name")
    kind = models.SmallIntegerField(choices=Kind)
    name = models.CharField(max_length=255)
    until = models.FloatField(null=True)

    class Meta:
        verbose_name = _("pause")
        verbose_name_plural = _("pauses")

    def __str__(self) -> str:
        return self.name


class Group(models.Model):
    """Messages that are waited for together; open until what had to follow is stored.

    ``looked_at`` is there while it is open, ``expires_at`` from then on. ``place`` is the position
    of the member that the next look begins after.
    """

    uid = models.CharField(max_length=64, primary_key=True)
    plan = models.BinaryField()
    total = models.IntegerField()
    pending = models.IntegerField()
    keep = models.IntegerField()
    created_at = models.FloatField()
    looked_at = models.FloatField(null=True)
    place = models.IntegerField()
    expires_at = models.FloatField(null=True)

    class Meta:
        verbose_name = _("group")
        verbose_name_plural = _("groups")
        indexes = [
            models.Index(fields=["looked_at"], name="vtasks_group_looked"),
            models.Index(fields=["expires_at"], name="vtasks_group_expires"),
        ]

    def __str__(self) -> str:
        return self.uid


class GroupMember(models.Model):
    """A message of a group, in its place there, and how it has ended."""

    class State(models.IntegerChoices):
        PENDING = 0, pgettext_lazy("Task", "Pending")
        SUCCEEDED = 1, pgettext_lazy("Task", "Succeeded")
        FAILED = 2, pgettext_lazy("Task", "Failed")

    pk = models.CompositePrimaryKey("group_uid", "uid")
    group_uid = models.CharField(max_length=64)
    uid = models.CharField(max_length=64)
    n = models.IntegerField()
    state = models.SmallIntegerField(choices=State)

    class Meta:
        verbose_name = _("member of a group")
        verbose_name_plural = _("members of groups")
        indexes = [
            models.Index(fields=["group_uid", "state", "n"], name="vtasks_groupmember_state"),
        ]

    def __str__(self) -> str:
        return self.uid
