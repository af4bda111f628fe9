"""``fair_key``: checked where it is written, a line at enqueue, turns in a worker."""

import asyncio
from typing import Any

import pytest
from django.tasks import task_backends
from django.tasks.exceptions import InvalidTask

from tests.django import sample
from tests.django.helpers import NO_ROWS, rows
from vtasks_asgi import task
