"""The project template as a new user gets it: nothing but Django's own command, then its files."""

import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from django.core.management.base import CommandError

from tests import fresh_project
from tests.fresh_project import TEMPLATE, environment, production, python
from vtasks_asgi import __main__ as command_line

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fresh_project.create(tmp_path_factory.mktemp("template"))


# --- What startproject makes of it ----------------------------------------------------------------


def test_every_file_arrives_and_nothing_is_left_to_render(project: Path) -> None:
    expected = set(files(TEMPLATE))
    assert {"manage.py", "serve.py", ".env", ".gitignore", "compose.yml"} <= expected
    assert expected <= set(files(project))
    for name in files(project):
        if name.endswith((".py", ".toml", ".yml", ".md", "Dockerfile")):
            assert "{{" not in (project / name).read_text(), name
    assert f'"{fresh_project.NAME}"' in (project / "config" / "settings.py").read_text()


def test_no_secret_is_shipped_and_each_project_makes_its_own(tmp_path: Path) -> None:
    keys = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        project = fresh_project.create(tmp_path / name)
        key = project / "data" / "development-key"
        assert not key.exists()
        assert python("manage.py", "check", cwd=project, env=environment()).returncode == 0
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        keys.add(key.read_text())
    assert len(keys) == 2
    assert min(map(len, keys)) >= 50
    assert "SECRET_KEY=" not in (TEMPLATE / ".env").read_text()


def test_its_own_tests_pass(project: Path) -> None:
    done = python("manage.py", "test", cwd=project, env=environment())
    assert done.returncode == 0, done.stderr
    assert re.search(r"Ran [1-9]\d tests", done.stderr)


def test_deployment_checks_are_clean_with_https_only(project: Path) -> None:
    check = ("manage.py", "check", "--deploy", "--fail-level", "WARNING")
    done = python(*check, cwd=project, env=production())
    assert done.returncode == 0, done.stderr
    done = python(*check, cwd=project, env=production(SITE_URL="http://example.org"))
    assert done.returncode != 0
    assert "security.W" in done.stderr


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY is not set"),
        ({"SITE_URL": ""}, "SITE_URL is not set"),
        ({"SITE_URL": "example.org"}, "SITE_URL='example.org'"),
        ({"DEBUG": "maybe"}, "DEBUG='maybe'"),
        ({"HSTS_SECONDS": "soon"}, "HSTS_SECONDS='soon'"),
        ({"DATABASE_URL": "oracle://user:secret@db/site"}, "DATABASE_URL must start with"),
        ({"PORT": "http"}, "--port"),
    ],
)
def test_a_wrong_environment_is_one_clear_sentence(
    project: Path, wrong: dict[str, str], named: str
) -> None:
    done = python("serve.py", cwd=project, env=production(**wrong))
    assert done.returncode in (1, 2)
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret@" not in done.stderr


def test_the_example_environment_lists_what_is_read(project: Path) -> None:
    code = "".join(
        (TEMPLATE / name).read_text()
        for name in ("config/settings.py", "serve.py", "config/env.py")
    )
    command = TEMPLATE / "website" / "management" / "commands" / "ensure_superuser.py"
    read = set(re.findall(r'(?:get|flag|words|whole|required)\(\s*"([A-Z_]+)"', code))
    read |= set(re.findall(r'"(DJANGO_SUPERUSER_[A-Z]+)"', command.read_text()))
    example = (TEMPLATE / ".env.example").read_text()
    listed = set(re.findall(r"^#?([A-Z_]+)=", example, flags=re.MULTILINE))
    assert {"DEBUG", "SECRET_KEY", "SITE_URL", "DATABASE_URL", "VALKEY_URL"} <= read
    assert read - listed == set()
    assert listed - read == {"VTASKS_EMBEDDED"}


# --- python -m vtasks_asgi startproject -----------------------------------------------------------


def test_our_command_makes_the_same_project(project: Path, tmp_path: Path) -> None:
    done = python("-m", "vtasks_asgi", "startproject", "mysite", cwd=tmp_path, env=environment())
    assert done.returncode == 0, done.stderr
    assert "cd mysite" in done.stdout
    made = tmp_path / "mysite"
    assert set(files(made)) == set(files(TEMPLATE))
    settings = Path("config") / "settings.py"
    assert (made / settings).read_text() == (project / settings).read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["my-site"], "not a valid project name"),
        (["os"], "conflicts with the name of an existing Python module"),
        (["mysite", "file"], "Not a directory"),
        (["mysite", "full"], "already exists"),
        ([], "the following arguments are required: name"),
    ],
)
def test_our_command_refuses_in_one_sentence(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "manage.py").touch()
    command = ("-m", "vtasks_asgi", "startproject", *arguments)
    done = python(*command, cwd=tmp_path, env=environment())
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_template_is_found_within_the_package_first(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "vtasks_asgi"
    inside, beside = package / "project_template", package.parent / "project_template"
    with pytest.raises(CommandError, match="Reinstall vtasks-asgi"):
        command_line.template(package)
    for place in (beside, inside):
        (place / "config").mkdir(parents=True)
        (place / "manage.py").touch()
        (place / "config" / "settings.py").touch()
        assert command_line.template(package) == place


# --- Its container files --------------------------------------------------------------------------


def test_its_image_runs_without_root_and_is_probed_for_readiness() -> None:
    steps = instructions((TEMPLATE / "Dockerfile").read_text())
    last = [keyword for keyword, _ in steps]
    assert last[-1] == "CMD"
    assert dict(steps)["USER"] == "app"
    assert dict(steps)["CMD"].startswith('["python", "serve.py"')
    assert "/vtasks/health/ready" in dict(steps)["HEALTHCHECK"]
    assert dict(steps)["VOLUME"] == "/data"


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    text = re.sub(r"^\s*#.*\n", "", dockerfile, flags=re.MULTILINE).replace("\\\n", " ")
    lines = (line.strip().partition(" ") for line in text.splitlines() if line.strip())
    return [(keyword, rest) for keyword, _, rest in lines]


def test_its_compose_file_keeps_data_and_stops_last() -> None:
    compose = yaml.safe_load((TEMPLATE / "compose.yml").read_text())
    services = compose["services"]
    assert [name for name, service in services.items() if "profiles" not in service] == ["app"]
    assert services["app"]["volumes"] == ["data:/data"]
    assert services["app"]["environment"]["DEBUG"] == "false"
    limit = re.search(r'KILL_TIMEOUT": "(\d+)"', (TEMPLATE / "serve.py").read_text())
    assert limit
    assert int(services["app"]["stop_grace_period"].removesuffix("s")) > int(limit[1])


def files(folder: Path) -> Iterator[str]:
    """The names of the files below, without what running leaves behind."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and not re.search(
            r"__pycache__|^data/|^logs/|^staticfiles/|_cache", name
        ):
            yield name
