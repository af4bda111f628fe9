"""A trivial async view, and the counters for the harness."""

import time

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from benchmarks.sides.ledger import ledger


async def hello(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"hello", content_type="text/plain")


async def counts(request: HttpRequest) -> JsonResponse:
    ages = {"now": time.perf_counter(), "last": ledger.last}
    return JsonResponse(ledger.counts() | ages)


urlpatterns = [path("", hello), path("counts", counts)]
