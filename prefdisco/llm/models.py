"""A model by its name, for any role.

    server/http://HOST:PORT/v1#NAME   an OpenAI-compatible server; #NAME may be left out where it serves one model
    anthropic/NAME, openai/NAME, ...  a provider, through litellm
    anything else                     a checkpoint on this machine: a folder, pocket-base, or a cached Hub id

A folder that exists is always a checkpoint, even `openai/x`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from prefdisco.llm.base import Model, ModelError
from prefdisco.llm.options import RemoteOptions
from prefdisco.llm.providers import PROVIDERS
from prefdisco.llm.remote import Account, Client, RemoteModel

SERVER = "server/"
Kind = Literal["server", "provider", "local"]


def kind_of(name: str) -> Kind:
    """Which of the three sorts of model a name stands for."""
    if name.startswith(SERVER):
        return "server"
    if "/" not in name or Path(name).is_dir() or name.partition("/")[0] not in PROVIDERS:
        return "local"
    return "provider"


def load_model(
    name: str,
    role: str,
    options: RemoteOptions | None = None,
    batch_size: int = 64,
    account: Account | None = None,
    dtype: str | None = None,
) -> Model:
    """The model called `name` in a role of the run ("agent", "user", "judge", "builder"), under which it is billed.

    Give all models of a run the same `account`, so that they share cap, cache and limits. Nothing is sent yet; a local
    checkpoint is loaded, its weights as `dtype`. Raises ModelError.
    """
    kind = kind_of(name)
    if kind == "local" and role != "agent":
        raise ModelError(f"{role} {name}: a checkpoint cannot follow a JSON schema here; serve it: server/http://..")
    if kind == "local":
        from prefdisco.llm.local import LocalModel  # brings torch

        return LocalModel(name, batch_size=batch_size, dtype=dtype)
    options = options or RemoteOptions()
    client: Client
    if kind == "server":
        from prefdisco.llm.server import Server

        url, _, model = name.removeprefix(SERVER).partition("#")
        client = Server(url, model or None, options)
    else:
        from prefdisco.llm.providers import Provider

        client = Provider(name, options)
    return RemoteModel(name, role, client, options, account or Account(options))
