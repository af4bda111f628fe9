"""The all-in-one application of the side that ``BENCH_PACKAGE`` names."""

from django.core.asgi import get_asgi_application

from benchmarks.sides.base import current

_django = get_asgi_application()
application = current().wrap(_django)
