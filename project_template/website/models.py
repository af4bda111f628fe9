"""What the page remembers. Both tables are kept short by those who write to them."""

from django.db import models


class Job(models.Model):
    """A task somebody submitted on the page: what was asked for, and where its result is."""

    class Kind(models.TextChoices):
        HELLO = "hello", "Say hello"
        COUNT = "count", "Count to ten"
        FLAKY = "flaky", "Fail twice"

    result_id = models.CharField(max_length=64, unique=True)
    kind = models.CharField(max_length=10, choices=Kind)
    progress = models.PositiveSmallIntegerField(default=0, help_text="Percent, for the slow one.")
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} ({self.created:%Y-%m-%d %H:%M:%S})"

    @classmethod
    def prune(cls, keep: int) -> None:
        """Delete all but the newest."""
        cls.objects.exclude(pk__in=list(cls.objects.values_list("pk", flat=True)[:keep])).delete()


class Tick(models.Model):
    """One firing of the schedule; its primary key counts them."""

    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"Tick {self.pk}"
