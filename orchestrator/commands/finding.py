"""Finding the settings file that a command means."""

import os
from pathlib import Path

from orchestrator.core.errors import SettingsError

NAME = "isthmus.yaml"


def find_settings(given: Path | None) -> Path:
    """Return the settings file: the given one, ./isthmus.yaml, or the user's own.

    Raises:
        SettingsError: There is none.
    """
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "isthmus"
    places = [given] if given else [Path(NAME), home / NAME]
    for place in places:
        if place.is_file():
            return place
    looked = " or ".join(map(str, places))
    raise SettingsError(f"there is no {looked}: write one (docs/run-nodes.md), or name it")
