"""Uploading a release to a stand-in for the Hub: what arrives, and what is said where it may not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from prefdisco.cli import main
from tests.finished import contents, finished_run, refused
from tests.hub import GOOD, READ_ONLY, Hub, hub


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; its release is written anew by every test."""
    folder = tmp_path_factory.mktemp("pushed") / "runs" / "mine"
    finished_run(folder, "scenarios.eval_limit=4", "scenarios.train_limit=6")
    return folder


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stand-in for the Hub, and a token for it; Xet storage, which it lacks, is off."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", GOOD)
    with hub() as state:
        yield state


def test_push_uploads_the_folder_to_a_private_repository_once(
    run: Path, online: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["release", str(run), "push=ada/asks", f"push_endpoint={online.url}"]
    main(words)
    assert f"uploaded to {online.url}/ada/asks" in capsys.readouterr().out
    there = online.repositories["ada/asks"]
    assert there.private and there.files == contents(run / "release") and len(there.commits) == 1
    assert "POST /ada/asks.git/info/lfs/objects/batch" in online.calls
    card = there.files["README.md"].decode()
    assert 'from_pretrained("ada/asks")' in card and "vllm serve ada/asks" in card and "# asks\n" in card
    main(words)
    assert len(there.commits) == 1  # nothing changed, nothing is sent again
    there.files["model-00001-of-00002.safetensors"] = b"of an older release"
    main([*words, "license=mit"])
    assert there.files == contents(run / "release")
    assert set(there.commits[-1]) == {"README.md", "SHA256SUMS", "model-00001-of-00002.safetensors"}


def test_nothing_is_sent_without_push(run: Path, online: Hub) -> None:
    main(["release", str(run), f"push_endpoint={online.url}"])
    main(["release", str(run), f"push_endpoint={online.url}", "push=ada/asks", "--dry-run"])
    assert not online.calls


def test_a_push_that_is_refused_says_why(
    run: Path, online: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["release", str(run)])  # what is refused below changes none of it but the card
    at = f"push_endpoint={online.url}"
    assert "push: expected OWNER/NAME" in refused(run, capsys, "push=asks", at)
    assert "refuses: the token may not write to eve/asks" in refused(run, capsys, "push=eve/asks", at)
    monkeypatch.setenv("HF_TOKEN", READ_ONLY)
    assert "refuses: the token may not write to ada/asks" in refused(run, capsys, "push=ada/asks", at)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "does not accept the token; take one that may write" in refused(run, capsys, "push=ada/asks", at)
    assert not online.repositories
    monkeypatch.setenv("HF_TOKEN", GOOD)
    main(["release", str(run), "push=ada/open", "private=false", at])
    assert "is there and public; say private=false" in refused(run, capsys, "push=ada/open", at)
    assert len(online.repositories["ada/open"].commits) == 1
    online.broken = True
    assert "cannot now; repeat the command later (500" in refused(run, capsys, "push=ada/asks", at)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in refused(run, capsys, "push=ada/asks", at)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert "cannot reach http://127.0.0.1:9" in refused(
        run, capsys, "push=ada/asks", "push_endpoint=http://127.0.0.1:9"
    )
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    assert "push: no token; set HF_TOKEN" in refused(run, capsys, "push=ada/asks", at)


def test_the_command_takes_address_and_token_from_the_environment(run: Path, online: Hub) -> None:
    environment = {
        **os.environ, "HF_ENDPOINT": online.url, "HF_TOKEN": GOOD, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0",
        "PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "prefdisco.cli", "release", str(run), "push=ada/asks"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert online.repositories["ada/asks"].files == contents(run / "release")
