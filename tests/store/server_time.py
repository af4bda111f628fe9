"""Makes the scripts of the Valkey store read a clock of the tests' in place of the server's.

Nothing else of them changes. So time passes for everything stored, on every node, without a wait.
"""

from importlib.resources import files

from vtasks_asgi.store.valkey.scripts import Script, script

_TIME = "redis.call('TIME')"


def every_script() -> list[Script]:
    """All that the store has."""
    folder = files("vtasks_asgi.store.valkey") / "lua"
    names = sorted(it.name.removesuffix(".lua") for it in folder.iterdir())
    return [script(name) for name in names if not name.startswith("lib_")]


def tell(now: float | None) -> None:
    """From here on it is this time, in epoch seconds; None for the server's own."""
    for each in every_script():
        text = each.text
        if now is not None:
            seconds, micros = divmod(round(now * 1_000_000), 1_000_000)
            text = text.replace(_TIME, f"{{{seconds}, {micros}}}")
        changed = Script(each.name, text, each.keys)
        for packed in ("by_hash", "by_text"):
            object.__setattr__(each, packed, getattr(changed, packed))
