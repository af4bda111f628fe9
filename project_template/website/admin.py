from django.contrib import admin

from website.models import Job


@admin.register(Job)
class JobAdmin(admin.ModelAdmin):
    """Submitted jobs, to look at; the page itself prunes them."""

    list_display = ["kind", "result_id", "progress", "created"]
    list_filter = ["kind"]
    readonly_fields = ["result_id", "kind", "progress", "created"]
