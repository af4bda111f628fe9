"""OpenTelemetry, the real one: a span for each enqueue and each run, in one trace."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.django import sample
from tests.django.helpers import SYNC_AND_ASYNC, AnyResult, done, run
from vtasks_asgi import tracing
from vtasks_asgi.core.envelope import decode, encode
from vtasks_asgi.db.models import Message


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What is traced, by a provider as a project would set it up."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


def finished(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def context_of(span: ReadableSpan) -> Any:
    assert span.context is not None
    return span.context


def carrier(result: AnyResult) -> Any:
    return decode(bytes(Message.objects.get(uid=result.id).body)).meta.get("trace")


@SYNC_AND_ASYNC
def test_a_request_its_enqueue_and_its_run_are_one_trace(
    kind: str, spans: InMemorySpanExporter
) -> None:
    name = f"tests.django.sample.{kind}add"
    with trace.get_tracer("request").start_as_current_span("GET /"):
        result = getattr(sample, f"{kind}add").enqueue(1, 2)
    headers = carrier(result)
    assert set(headers) == {"traceparent"}
    assert done(result).return_value == 3
    told = finished(spans)
    request, enqueued, ran = told["GET /"], told[f"enqueue {name}"], told[f"run {name}"]
    assert {context_of(span).trace_id for span in told.values()} == {context_of(request).trace_id}
    assert enqueued.parent == context_of(request)
    assert ran.parent is not None
    assert ran.parent.span_id == context_of(enqueued).span_id
    assert f"{context_of(enqueued).span_id:016x}" in headers["traceparent"]
    assert (enqueued.kind, ran.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    common = {
        "messaging.system": "vtasks_asgi",
        "messaging.destination.name": "default",
        "messaging.message.id": result.id,
        "vtasks.task": name,
    }
    assert dict(enqueued.attributes or {}) == common | {"messaging.operation.type": "send"}
    assert dict(ran.attributes or {}) == common | {
        "messaging.operation.type": "process",
        "vtasks.attempt": 1,
    }
    assert ran.status.status_code is StatusCode.UNSET


@SYNC_AND_ASYNC
def test_a_failure_is_recorded_with_its_span(kind: str, spans: InMemorySpanExporter) -> None:
    done(getattr(sample, f"{kind}fails").enqueue("broken"))
    ran = finished(spans)[f"run tests.django.sample.{kind}fails"]
    assert ran.status.status_code is StatusCode.ERROR
    [event] = ran.events
    assert (event.attributes or {})["exception.type"] == "ValueError"


def test_what_a_task_enqueues_and_traces_is_within_its_run(spans: InMemorySpanExporter) -> None:
    sample.enqueues.enqueue(1)
    run(2)
    told = finished(spans)
    ran, child = told["run tests.django.sample.enqueues"], told["enqueue tests.django.sample.note"]
    assert child.parent is not None
    assert child.parent.span_id == context_of(ran).span_id
    assert len({context_of(span).trace_id for span in told.values()}) == 1


def test_tracestate_is_carried_too(spans: InMemorySpanExporter) -> None:
    state = trace.TraceState([("vendor", "value")])
    parent = trace.NonRecordingSpan(
        trace.SpanContext(1 << 100, 1 << 50, True, trace.TraceFlags(1), state)
    )
    with trace.use_span(parent):
        result = sample.add.enqueue(1)
    assert carrier(result)["tracestate"] == "vendor=value"
    done(result)
    assert context_of(finished(spans)["run tests.django.sample.add"]).trace_state == state


@pytest.mark.parametrize("hostile", [{}, None, 5, [1], {"traceparent": "00-x"}, {"traceparent": 7}])
def test_a_strange_carrier_begins_a_new_trace(hostile: Any, spans: InMemorySpanExporter) -> None:
    result = sample.add.enqueue(1)
    call = decode(bytes(Message.objects.get().body))
    call.meta = {"trace": hostile}
    Message.objects.update(body=encode(call))
    assert done(result).return_value == 1
    assert finished(spans)["run tests.django.sample.add"].parent is None


def test_where_nobody_traces_nothing_is_carried() -> None:
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    assert tracing.tracer() is None
    result = sample.add.enqueue(1)
    assert decode(bytes(Message.objects.get().body)).meta == {}
    assert done(result).return_value == 1


@pytest.mark.slow
def test_the_library_is_neither_needed_nor_loaded() -> None:
    program = (
        "import sys, os\n"
        "sys.modules['opentelemetry'] = None\n"
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'tests.settings'\n"
        "import django; django.setup()\n"
        "import vtasks_asgi.assembly\n"
        "from vtasks_asgi import tracing\n"
        "assert tracing.tracer() is None\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry.')]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
