"""Three async views: the page, a submission, and the state the page asks for every second."""

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from website import tasks
from website.models import Job
from website.progress import SHOWN, snapshot

TASKS = {Job.Kind.HELLO: tasks.hello, Job.Kind.COUNT: tasks.count, Job.Kind.FLAKY: tasks.flaky}


@require_GET
@never_cache
async def home(request: HttpRequest) -> HttpResponse:
    page = {"site_name": settings.SITE_NAME, "debug": settings.DEBUG, "kinds": Job.Kind.choices}
    return render(request, "website/home.html", page | await snapshot())


@require_GET
@never_cache
async def status(request: HttpRequest) -> HttpResponse:
    return JsonResponse(await snapshot())


async def favicon(request: HttpRequest) -> HttpResponse:
    """Browsers ask for this on pages that name no icon, such as the admin's."""
    return redirect(static("website/icon.svg"))


@require_POST
async def submit(request: HttpRequest) -> HttpResponse:
    kind = request.POST.get("kind", "")
    if kind not in Job.Kind:
        return HttpResponse("There is no such task.", status=400, content_type="text/plain")
    now = await snapshot()
    # The page is open to everybody, so what it can pile up is bounded.
    if int(now["waiting"]) + int(now["running"]) >= SHOWN:
        message = "Enough is waiting already; try again when something has finished."
        return HttpResponse(message, status=429, content_type="text/plain")
    await sync_to_async(add_job)(Job.Kind(kind))
    return redirect("home")


@transaction.atomic
def add_job(kind: Job.Kind) -> None:
    """The task and the row that remembers it: one transaction, both or neither."""
    result = TASKS[kind].enqueue()
    Job.objects.create(kind=kind, result_id=result.id)
    Job.prune(keep=SHOWN)
