"""What is shipped: the wheel as `uv build` makes it (by way of the sdist), and the container pair.

No container engine is needed: both files are parsed and held to what must be true of them.
"""

import ast
import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PROBE = "http://127.0.0.1:8000/vtasks/health/ready"


def python(*arguments: str | Path, cwd: Path, **environment: str) -> str:
    """The output of Python run with these arguments; a failure shows its errors."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=cwd, env=environment or None, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- The wheel ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what installing the wheel would put into site-packages."""
    folder = tmp_path_factory.mktemp("dist")
    python("-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as sdist:
        sdist.extractall(folder, filter="data")
    source = next(path for path in folder.iterdir() if path.is_dir())
    python("-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=source)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def files(folder: Path) -> set[str]:
    """The names of the files below, without what running or checking leaves behind."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(n) for n in names if not re.search(r"__pycache__|\.\w+_cache", str(n))}


def test_the_wheel_holds_every_file_of_the_package(installed: Path) -> None:
    expected = files(ROOT / "vtasks_asgi")
    assert {"py.typed", "db/migrations/0001_initial.py"} <= expected
    shipped = files(installed / "vtasks_asgi")
    assert {n for n in shipped if not n.startswith("project_template/")} == expected


def test_the_wheel_holds_the_whole_project_template(installed: Path) -> None:
    expected = files(ROOT / "project_template")
    assert {"manage.py", "serve.py", ".env", ".dockerignore", "Dockerfile"} <= expected
    assert files(installed / "vtasks_asgi" / "project_template") == expected


def test_the_wheel_holds_nothing_but_the_package(installed: Path) -> None:
    folders = {path.name for path in installed.iterdir()}
    assert {name for name in folders if not name.endswith(".dist-info")} == {"vtasks_asgi"}
    assert next(installed.glob("*.dist-info/licenses/LICENSE")).read_text().startswith("MIT")


def test_the_version_is_the_same_everywhere(installed: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert [path.name for path in installed.glob("*.dist-info")] == [
        f"vtasks_asgi-{version}.dist-info"
    ]
    told = python("-c", "import vtasks_asgi as v; print(v.__version__)", cwd=installed)
    assert told.strip() == version


@pytest.mark.slow
def test_the_installed_package_starts_a_project(installed: Path, tmp_path: Path) -> None:
    """From the wheel alone: the checkout is not on the path, nor is its editable install."""
    dependencies = str(Path(pytest.__file__).parent.parent)
    environment = {"PYTHONPATH": f"{installed}:{dependencies}", "PATH": "/usr/bin:/bin"}
    # -S: without site no .pth file is read, and with them goes the editable install.
    where = "import vtasks_asgi as v; print(v.__file__)"
    assert str(installed) in python("-S", "-c", where, cwd=tmp_path, **environment)
    start = ("-S", "-m", "vtasks_asgi", "startproject", "mysite")
    python(*start, cwd=tmp_path, **environment)
    project = tmp_path / "mysite"
    assert files(project) >= {"manage.py", "serve.py", "config/asgi.py"}
    python("-S", "manage.py", "check", cwd=project, DEBUG="true", **environment)


# --- The documents --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_link_into_the_repository_leads_somewhere(name: str) -> None:
    targets = re.findall(r"\]\(([^)]+)\)", (ROOT / name).read_text())
    assert targets
    local = [target.split("#")[0] for target in targets if not target.startswith("http")]
    assert [target for target in local if not (ROOT / target).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_every_make_command_in_the_documents_exists(name: str) -> None:
    told = set(re.findall(r"\bmake ([a-z-]+)", commands_of(ROOT / name)))
    assert {"run", "test"} <= told
    assert told <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))


def commands_of(document: Path) -> str:
    """What stands in backquotes or in a shell block."""
    text = document.read_text()
    return "\n".join(
        re.findall(r"```sh\n.*?```", text, flags=re.S) + re.findall(r"`[^`\n]+`", text)
    )


# --- The container pair ---------------------------------------------------------------------------

type Stage = list[tuple[str, str]]


def stages() -> dict[str, Stage]:
    """The Dockerfile's instructions by the name of their stage, comments gone, lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M)
    found: dict[str, Stage] = {}
    for line in filter(None, text.replace("\\\n", " ").splitlines()):
        keyword, _, rest = line.strip().partition(" ")
        if keyword == "FROM":
            stage = found[rest.split(" AS ")[1]] = []
        if found:
            stage.append((keyword, rest.strip()))
    return found


def only(stage: Stage, keyword: str) -> str:
    """The one instruction of that kind."""
    (value,) = (rest for name, rest in stage if name == keyword)
    return value


def copied_from_the_checkout() -> Iterator[str]:
    for stage in stages().values():
        for keyword, rest in stage:
            if keyword == "COPY" and not rest.startswith("--from="):
                yield from rest.split()[:-1]


def test_every_copied_path_exists_and_is_not_ignored() -> None:
    copied = set(copied_from_the_checkout())
    assert {"uv.lock", "vtasks_asgi", "project_template", "tools/project.py"} <= copied
    assert [path for path in copied if not (ROOT / path).exists()] == []
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert [path for path in copied if path.split("/")[0] in ignored] == []
    assert {".git", ".venv*", "run"} <= set(ignored)


def test_the_image_installs_the_lock_file_and_compiles_it() -> None:
    syncs = [rest for stage in stages().values() for _, rest in stage if "uv sync" in rest]
    assert len(syncs) == 2
    for sync in syncs:
        assert {"--frozen", "--no-dev", "--compile-bytecode"} <= set(sync.split())


def test_the_app_does_not_run_as_root_and_may_write_its_volume() -> None:
    app = stages()["app"]
    assert only(app, "USER") == "app"
    assert json.loads(only(app, "VOLUME")) == ["/data"]
    assert "--owner app --group app /data" in only(app, "RUN")
    after_user = list(dropwhile(lambda step: step[0] != "USER", app))
    assert {"CMD", "HEALTHCHECK"} <= {keyword for keyword, _ in after_user}
    assert "RUN" not in {keyword for keyword, _ in after_user}


def test_signals_reach_the_server() -> None:
    """Exec form everywhere: a shell in between would keep SIGTERM for itself."""
    assert only(stages()["app"], "STOPSIGNAL") == "SIGTERM"
    for name in ("app", "tests"):
        assert isinstance(json.loads(only(stages()[name], "CMD")), list)
    assert "ENTRYPOINT" not in {keyword for stage in stages().values() for keyword, _ in stage}


def test_the_health_check_asks_for_readiness() -> None:
    options, probe = only(stages()["app"], "HEALTHCHECK").split(" CMD ")
    assert "--start-period=" in options
    program, flag, code = json.loads(probe)
    assert (program, flag) == ("python", "-c")
    ast.parse(code)
    assert PROBE in code


def test_containers_run_the_commands_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    run = json.loads(only(stages()["app"], "CMD"))
    assert run[:3] == ["python", "tools/project.py", "serve"]
    assert f"$(BIN)/python {run[1]} {run[2]}" in makefile
    assert json.loads(only(stages()["tests"], "CMD")) == ["make", "test"]
    runs = [rest for word, rest in stages()["tests"] if word == "RUN"]
    assert any(rest.startswith("make packages") for rest in runs)
    assert "make mysql" in runs


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "compose.yml").read_text())
    return loaded


def test_by_default_compose_starts_the_app_alone_on_a_volume(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert [name for name, service in services.items() if "profiles" not in service] == ["app"]
    assert services["app"]["volumes"] == ["data:/data"]
    assert services["app"]["build"] == {"context": ".", "target": "app"}
    profiles = {profile for service in services.values() for profile in service.get("profiles", [])}
    assert profiles == {"postgres", "valkey", "mariadb", "tests"}


def test_compose_declares_each_volume_it_uses(compose: dict[str, Any]) -> None:
    used = {
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
    }
    assert used == set(compose["volumes"])


def test_compose_stops_the_app_later_than_its_server_does(compose: dict[str, Any]) -> None:
    serve = (ROOT / "project_template" / "serve.py").read_text()
    limit = re.search(r'KILL_TIMEOUT": "(\d+)"', serve)
    assert limit
    grace = compose["services"]["app"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > int(limit[1])


def test_compose_opens_one_port_and_only_on_this_machine(compose: dict[str, Any]) -> None:
    ports = {name: s["ports"] for name, s in compose["services"].items() if "ports" in s}
    assert ports == {"app": ["127.0.0.1:${PORT:-8000}:8000"]}


def test_every_service_beside_the_app_has_a_version_and_a_health_check(
    compose: dict[str, Any],
) -> None:
    for name, service in compose["services"].items():
        if "image" in service:
            assert re.search(r":\d", service["image"]), name
            assert service["healthcheck"]["test"][0] == "CMD", name


def test_the_tests_service_runs_the_suite(compose: dict[str, Any]) -> None:
    tests = compose["services"]["tests"]
    assert tests["command"] == json.loads(only(stages()["tests"], "CMD"))
    assert tests["build"]["target"] == "tests"
    assert "CI=true" in [rest for keyword, rest in stages()["tests"] if keyword == "ENV"]
