"""What can be set for models behind an API: pace, patience, money, where answers are kept. Keys are not among it."""

from __future__ import annotations

from pydantic import Field

from prefdisco.loading import Section


class RemoteOptions(Section):
    """How remote models are called. Limits hold for each endpoint, `max_usd` and `cache` for the whole run."""

    concurrency: int = Field(default=256, ge=1, description="calls in flight at one endpoint")
    requests_per_minute: float | None = Field(default=None, gt=0, description="requests sent to one endpoint a minute")
    tokens_per_minute: float | None = Field(
        default=None, gt=0, description="tokens, read and written, of one endpoint a minute"
    )
    retries: int = Field(default=6, ge=0, description="further attempts after one that failed")
    backoff_s: float = Field(default=0.5, ge=0, description="seconds before the first retry, doubled for each next one")
    timeout_s: float = Field(default=120, gt=0, description="seconds an attempt may take, its last byte included")
    max_usd: float | None = Field(default=None, gt=0, description="spending cap of the run in dollars")
    cache: str | None = Field(default="runs/cache", description="folder of the response cache; null: no cache")
    price_in: float = Field(default=0, ge=0, description="dollars for a million tokens read by a server/ model")
    price_out: float = Field(default=0, ge=0, description="dollars for a million tokens written by a server/ model")
