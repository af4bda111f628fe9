"""Connections of our own to the server Django uses, and its errors in our words."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db import Error as DjangoDatabaseError
from django.db import connections
from django.db.utils import DataError, IntegrityError

from vtasks_asgi.core.errors import StoreError, StoreUnavailable
from vtasks_asgi.store.database.mysql.step import Step
from vtasks_asgi.store.database.records import MIGRATE

#: Seconds for a connection to stand and for an answer to come, unless OPTIONS say otherwise.
TIMEOUTS = {"connect_timeout": 10, "read_timeout": 60, "write_timeout": 60}
#: Seconds a statement waits for a lock before it counts as a conflict.
LOCK_WAIT = 5

OLDEST_MARIADB = (10, 6)  # SKIP LOCKED
OLDEST_MYSQL = (8, 0, 17)  # SKIP LOCKED, and a binary collation to which trailing spaces count

_SESSION = (
    f"SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT},"
    " sql_mode = CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES')"
)

_DUPLICATE = 1062
# Deadlock, lock wait timeout, and a row that changed under a snapshot of MariaDB's.
_CONFLICTS = frozenset({1213, 1205, 1020})
# No such table, column or index.
_NOT_MIGRATED = frozenset({1146, 1054, 1176})
# A packet too large, and text the column cannot hold: the driver calls both operational errors.
_BAD_INPUT = frozenset({1153, 1366})


class Conflict(StoreUnavailable):
    """Two transactions stood in each other's way; the step may be done again."""


class Broken(StoreUnavailable):
    """The connection failed, not the work."""


class Link:
    """One connection, opened when first used, and anew after it has broken. For one thread."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._wrapper: Any = None

    def transact[T](self, work: Callable[[Step], T]) -> T:
        """Run ``work`` and commit.

        Raises:
            Broken: there was no connection, or it ended; what was sent last may have been done.
            Conflict: nothing was done, and doing it again may work.
            StoreError: nothing was done.
        """
        step = self._begin()
        try:
            result = work(step)
        except DjangoDatabaseError as error:
            if not self._rolled_back():
                raise Broken(_text(error)) from error
            raise ours(error) from error
        except BaseException:
            self._rolled_back()
            raise
        try:
            self._wrapper.commit()
        except DjangoDatabaseError as error:
            self.close()
            raise Broken(_text(error)) from error
        return result

    def close(self) -> None:
        """Legal when never opened, and when broken."""
        wrapper, self._wrapper = self._wrapper, None
        if wrapper is not None:
            with suppress(DjangoDatabaseError):
                wrapper.close()

    def _begin(self) -> Step:
        if self._wrapper is not None:
            try:
                return self._step()
            except DjangoDatabaseError:
                self.close()  # it broke while nobody used it, and nothing was sent on it
        try:
            self._wrapper = _connected(self._alias)
            return self._step()
        except DjangoDatabaseError as error:
            self.close()
            raise Broken(_text(error)) from error

    def _step(self) -> Step:
        # Never Django's debugging cursor, which keeps the text of thousands of statements.
        return Step.begin(self._wrapper.make_cursor(self._wrapper.create_cursor()))

    def _rolled_back(self) -> bool:
        try:
            self._wrapper.rollback()
        except DjangoDatabaseError:
            self.close()
            return False
        return True


def _connected(alias: str) -> Any:
    """One of Django's connections, with its settings, for READ COMMITTED and without autocommit."""
    wrapper: Any = connections[alias].copy()
    wrapper.settings_dict["AUTOCOMMIT"] = False
    options = wrapper.settings_dict["OPTIONS"]
    options["isolation_level"] = "read committed"
    for name, seconds in TIMEOUTS.items():
        options.setdefault(name, seconds)
    try:
        wrapper.ensure_connection()
        if problem := too_old(wrapper):
            raise StoreUnavailable(problem)
        with wrapper.cursor() as cursor:
            cursor.execute(_SESSION)
    except BaseException:
        wrapper.close()
        raise
    return wrapper


def too_old(connection: Any) -> str | None:
    """What is wrong with the version of Django's connection's server, if anything is."""
    oldest = OLDEST_MARIADB if connection.mysql_is_mariadb else OLDEST_MYSQL
    if connection.mysql_version >= oldest:
        return None
    name, needed = connection.display_name, ".".join(map(str, oldest))
    return f"{name} {connection.mysql_server_info} is too old: tasks need {name} {needed} or later"


def is_duplicate(error: IntegrityError) -> bool:
    """A row of that id or key is there."""
    return _code(error) == _DUPLICATE


def ours(error: DjangoDatabaseError) -> StoreError:
    """A driver's error as one of ours, with its text."""
    code = _code(error)
    if code in _NOT_MIGRATED and "vtasks_" in str(error):
        return StoreUnavailable(MIGRATE)
    if code in _CONFLICTS:
        return Conflict(_text(error))
    if isinstance(error, DataError | IntegrityError) or code in _BAD_INPUT:
        return StoreError(_text(error))
    return StoreUnavailable(_text(error))


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Django's database errors as StoreError."""
    try:
        yield
    except DjangoDatabaseError as error:
        raise ours(error) from error


def _code(error: BaseException) -> int | None:
    return error.args[0] if error.args and isinstance(error.args[0], int) else None


def _text(error: BaseException) -> str:
    if _code(error) is not None and len(error.args) > 1:
        return f"MySQL: {error.args[1]} ({error.args[0]})"
    return f"MySQL: {error}"
