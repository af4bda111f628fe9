"""The samples of the documents that this package descends from; only their imports change.

Each is a fenced block with a name in one of the ``.md`` files here. ``test_every_sample`` sees to
it that a test plays it. Where we do better than the prose around them: ``docs/decisions``.
"""

import ast
import inspect
import re
import shlex
import sys
import textwrap
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

from asgiref.sync import async_to_sync

FOLDER = Path(__file__).parent
_FENCE = re.compile(r"^```(?:python|sh) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _read() -> dict[str, str]:
    return {
        f"{document.stem}/{name}": text
        for document in sorted(FOLDER.glob("*.md"))
        for name, text in _FENCE.findall(document.read_text("utf-8"))
    }


SAMPLES = _read()


def sample(name: str) -> str:
    """The text of ``document/name``, with our import name."""
    return SAMPLES[name].replace("django_vtasks", "vtasks_asgi")


def run_sample(name: str, **names: Any) -> dict[str, Any]:
    """Run one as a module that has these names already; all that it has then."""
    exec(compile(sample(name), name, "exec"), names)
    return names


def await_sample(name: str, **names: Any) -> Any:
    """Run one in a coroutine; what it returns, or else its variables."""
    body = textwrap.indent(sample(name), "    ")
    exec(compile(f"async def it():\n{body}\n    return locals()\n", name, "exec"), names)
    return async_to_sync(names["it"])()


def step_through(name: str, **names: Any) -> None:
    """Run one whose statements are for coroutines and for other code, each where it belongs."""
    for statement in ast.parse(sample(name)).body:
        tree = ast.Module([statement], [])
        code = compile(tree, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if code.co_flags & inspect.CO_COROUTINE:
            async_to_sync(FunctionType(code, names))()
        else:
            exec(code, names)


def commands(name: str) -> list[list[str]]:
    """The arguments of each command line."""
    lines = sample(name).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line and not line.startswith("#")]


def managed(*names: str) -> list[list[str]]:
    """What comes after ``manage.py`` in these samples."""
    found = [each for name in names for each in commands(name)]
    assert all(each[:2] == ["python", "manage.py"] for each in found)
    return [each[2:] for each in found]


def module(path: str, code: str = "", **names: Any) -> ModuleType:
    """A module that can be imported by this name from now on, made of a sample or other code."""
    made = ModuleType(path)
    package, _, name = path.rpartition(".")
    made.__package__ = package
    made.__dict__.update(names)
    sys.modules[path] = made
    if package:
        parent = sys.modules.get(package) or module(package)
        parent.__path__ = []
        setattr(parent, name, made)
    exec(compile(code, path, "exec"), made.__dict__)
    return made


def user(id: int) -> SimpleNamespace:
    return SimpleNamespace(id=id, email=f"user{id}@example.com")
