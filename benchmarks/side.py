"""What is compared: a package in one of its configurations."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Side:
    """``package`` names the adapter, ``env`` what its settings read besides the store.

    ``needs`` is the module without which it cannot run; every side that is there is measured.
    """

    name: str
    package: str
    env: Mapping[str, str] = field(default_factory=dict)
    needs: str = "django"

    def missing(self) -> str | None:
        """Why it cannot be measured, None when it can."""
        try:
            found = importlib.util.find_spec(self.needs)
        except ModuleNotFoundError:
            found = None
        return None if found else f"there is no {self.needs}"
