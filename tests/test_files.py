"""Run folders survive kills, full disks and second processes."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from prefdisco.files import RunError, append_line, atomic_write, lock, read_complete_lines, writing

HOLD_THE_LOCK = """
import sys, time
from prefdisco.files import lock
with lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_atomic_write_makes_folders_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    atomic_write(path, "old")
    atomic_write(path, "new, with ünicode")
    assert path.read_text(encoding="utf-8") == "new, with ünicode"
    assert os.listdir(path.parent) == ["b.json"]


def test_a_failed_write_keeps_the_old_file_and_removes_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.json"
    atomic_write(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"summary\.json: the disk is full; free some space"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["summary.json"]


def test_an_appended_line_that_does_not_fit_the_disk_leaves_no_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "episodes.jsonl"
    append_line(path, "first")
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    with pytest.raises(RunError, match="disk is full"):
        append_line(path, "second")
    monkeypatch.undo()
    assert path.read_text() == "first\n"


def test_a_really_full_device_is_one_line() -> None:
    with pytest.raises(RunError, match="/dev/full: the disk is full") as caught:
        append_line("/dev/full", "text")
    assert "\n" not in str(caught.value)


def test_the_full_disk_errors_of_libraries_without_errno_are_recognized(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="disk is full"), writing(tmp_path):
        raise Exception("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(ZeroDivisionError), writing(tmp_path):
        raise ZeroDivisionError


def test_a_line_break_within_a_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be one line"):
        append_line(tmp_path / "x", "two\nlines")
    assert not (tmp_path / "x").exists()


def test_what_was_appended_is_read_back_even_with_unusual_separators(tmp_path: Path) -> None:
    path = tmp_path / "x"
    lines = ["plain", "", "line\u2028separator", "form\x0cfeed", "carriage\rreturn"]
    for line in lines:
        append_line(path, line)
    assert read_complete_lines(path) == lines
    assert read_complete_lines(tmp_path / "missing") == []


def test_a_half_written_last_line_is_cut_off_so_that_appending_continues(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes("one\ntwo\nthr\xc3".encode("latin-1"))  # killed within a character
    assert read_complete_lines(path) == ["one", "two"]
    append_line(path, "three")
    assert path.read_text() == "one\ntwo\nthree\n"


def test_text_that_is_not_utf8_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\xff\n")
    with pytest.raises(RunError, match=r"x: not UTF-8 text at byte 0"):
        read_complete_lines(path)


def test_an_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for attempt in (
        lambda: atomic_write(tmp_path / "file" / "x", ""),
        lambda: append_line(tmp_path / "file" / "x", ""),
        lambda: lock(tmp_path / "file").__enter__(),
    ):
        with pytest.raises(RunError, match=r"file.*: .*choose another run folder") as caught:
            attempt()
        assert "\n" not in str(caught.value)


def test_a_second_process_is_told_who_holds_the_run_folder_and_a_kill_releases_it(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD_THE_LOCK, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"process {holder.pid} is using this run folder"), lock(tmp_path):
            pass
        threading.Timer(1, holder.kill).start()
        with lock(tmp_path, wait=True) as held:
            assert held == tmp_path and holder.wait(5) == -signal.SIGKILL
        with lock(tmp_path) as held:
            assert held == tmp_path
    finally:
        holder.kill()
        holder.wait()
