"""What can be told to `prefdisco release`."""

from __future__ import annotations

from pydantic import Field

from prefdisco.loading import Config


class ReleaseConfig(Config):
    """What `prefdisco release` does with a run; made of words alone."""

    out: str | None = Field(default=None, description="folder to write; RUN/release by default")
    license: str | None = Field(
        default=None, description="identifier of the licence, if not that of the model it was trained from"
    )
    max_errors: float = Field(default=0.01, ge=0, le=1, description="share of failed episodes that is still published")
    benchmark: str | None = Field(
        default=None,
        pattern=r"[\w.-]+/[\w.-]+#[\w.-]+",
        description="OWNER/DATASET#TASK: a benchmark on the Hub whose scenarios these are; its leaderboard reads the "
        "normalized alignment under discovery",
    )
    push: str | None = Field(default=None, description="OWNER/NAME on the Hub to upload to; without it nothing is sent")
    private: bool = Field(default=True, description="whether a repository that is not there yet is made a private one")
    push_endpoint: str | None = Field(
        default=None, description="address of the Hub, if not HF_ENDPOINT or the Hub's own"
    )
