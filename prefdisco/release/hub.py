"""Uploading a released folder with `huggingface_hub`: private unless told otherwise, errors of one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id

from prefdisco.config import ConfigError
from prefdisco.files import RunError
from prefdisco.release.config import ReleaseConfig

TOKENS = "https://huggingface.co/settings/tokens"
# Weights of an earlier upload would be loaded beside, or before, the new ones.
STALE = ["*.safetensors", "*.safetensors.index.json"]


def check_name(repository: str) -> None:
    """Raise ConfigError for what cannot be the name of a repository."""
    try:
        validate_repo_id(repository)
    except HFValidationError:
        repository = ""
    if repository.count("/") != 1:
        raise ConfigError("push: expected OWNER/NAME, such as push=ada/asks-first")


def token_here() -> str:
    """The token of the environment (HF_TOKEN, or that of `hf auth login`). Raises ConfigError where there is none."""
    token = get_token()
    if not token:
        raise ConfigError(f"push: no token; set HF_TOKEN to one that may write ({TOKENS}), or run `hf auth login`")
    return token


def endpoint(config: ReleaseConfig) -> str:
    """The address that a push goes to."""
    return HfApi(endpoint=config.push_endpoint).endpoint


def push(out: Path, files: Sequence[str], config: ReleaseConfig) -> str:
    """Upload `files` of `out` in one commit; returns the address of the repository.

    A repository that is there is used, unless it is public and a private one is wanted. What did not change is not
    sent again. Raises ConfigError without a token, RunError where the Hub refuses or cannot be reached.
    """
    repository = config.push or ""
    api = HfApi(endpoint=config.push_endpoint, token=token_here())
    with explained(api.endpoint, repository):
        api.create_repo(repository, private=config.private, exist_ok=True)
        if config.private and not api.model_info(repository).private:
            raise RunError(f"push={repository}: is there and public; say private=false to publish in it")
        message = f"Release of {repository.partition('/')[2]}"
        api.upload_folder(
            repo_id=repository,
            folder_path=out,
            allow_patterns=list(files),
            delete_patterns=STALE,
            commit_message=message,
        )
    return f"{api.endpoint}/{repository}"


@contextmanager
def explained(address: str, repository: str) -> Iterator[None]:
    """Turn what goes wrong between here and the Hub into a RunError of one line."""
    try:
        yield
    except OfflineModeIsEnabled:
        raise RunError(f"push={repository}: HF_HUB_OFFLINE is set; unset it to upload") from None
    except HfHubHTTPError as error:
        status, said = error.response.status_code, " ".join((error.server_message or "").split())
        reason = {
            401: f"does not accept the token; take one that may write, {TOKENS}",
            403: f"refuses: the token may not write to {repository}; take one that may, {TOKENS}",
            404: f"has no {repository}, or the token may not see it",
            413: "refuses: too large",
            429: "asks to wait: too many requests; repeat the command later",
        }.get(status, "cannot now; repeat the command later" if status >= 500 else "refuses")
        raise RunError(f"push={repository}: {address} {reason} ({status}{': ' if said else ''}{said[:200]})") from None
    except httpx.HTTPError as error:
        raise RunError(f"push={repository}: cannot reach {address}: {type(error).__name__}: {error}") from None
    except (OSError, ValueError, LookupError, RuntimeError) as error:  # a malformed answer, a file that went away
        if isinstance(error, RunError):
            raise
        raise RunError(f"push={repository}: the upload to {address} failed: {error}") from None
