"""Parts of your own: `FILE.py:NAME` stands where a task, a user, a judge, a question policy or a reward is named.

    prefdisco evaluate agent=pocket-base judge=short.py:Short

The file is imported once a process, by its path, so it needs no installation. It is your code: what fails in it keeps
its traceback. docs/extend.md has an example of each.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from prefdisco.hashing import digest
from prefdisco.loading import ConfigError

PATTERN = r"^[^:]+\.py:\w+$"
Own = Annotated[str, Field(pattern=PATTERN, description="FILE.py:NAME")]


def is_own(name: str) -> bool:
    """Whether `name` is of the form FILE.py:NAME."""
    return re.match(PATTERN, name) is not None


def load_own(name: str, key: str) -> Any:
    """What FILE.py calls NAME. ConfigError, with the configuration's `key`, for a file or a name that is not there."""
    file, _, wanted = name.rpartition(":")
    path = Path(file).resolve()
    if not path.is_file():
        raise ConfigError(f"{key}={name}: there is no file {path}")
    module_name = f"prefdisco_own_{path.stem}_{digest(str(path), length=8)}"
    module = sys.modules.get(module_name)
    if module is None:
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None and spec.loader is not None  # a path that ends in .py has both
        module = sys.modules[module_name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]
            raise
    if not hasattr(module, wanted):
        known = ", ".join(each for each, value in vars(module).items() if _defined_in(module_name, each, value))
        raise ConfigError(f"{key}={name}: {file} has no {wanted}; it has {known or 'nothing'}")
    return getattr(module, wanted)


def _defined_in(module_name: str, name: str, value: object) -> bool:
    return not name.startswith("_") and getattr(value, "__module__", module_name) == module_name
