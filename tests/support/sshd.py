"""A real OpenSSH server on the loopback interface, with keys of its own, for one test."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SSHD = shutil.which("sshd") or next(
    (path for path in ("/usr/sbin/sshd", "/usr/local/sbin/sshd") if Path(path).is_file()), None
)
needs_sshd = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh") is None,
    reason="no OpenSSH server here: install openssh-server",
)


@dataclass(frozen=True)
class Server:
    """Where it listens, how to reach it, and the home folder of those who log in."""

    address: str
    options: dict[str, str]
    home: Path

    @property
    def kept(self) -> list[str]:
        """What builds have left in the cache folder of the device."""
        folder = self.home / ".cache" / "edgecompile"
        return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@contextmanager
def server(folder: Path, *, known: bool = True, wrapper: str | None = None) -> Iterator[Server]:
    """Run sshd as this user; `known` puts its host key where the client looks for it.

    `wrapper` is a shell script that runs instead of every command, which is in
    `$SSH_ORIGINAL_COMMAND`.
    """
    home = folder / "home"
    home.mkdir(parents=True)
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
        )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "authorized").write_bytes((folder / "user.pub").read_bytes())
    key = (folder / "host.pub").read_text().split()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {key[0]} {key[1]}\n" if known else "")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    lines = [
        f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {folder / 'host'}",
        f"PidFile {folder / 'pid'}", f"AuthorizedKeysFile {folder / 'authorized'}",
        "PasswordAuthentication no", "KbdInteractiveAuthentication no", "StrictModes no",
        "UsePAM no", "MaxStartups 100",
        f"SetEnv PATH={path} HOME={home} XDG_CACHE_HOME={home / '.cache'}",
    ]  # fmt: skip
    if wrapper is not None:
        script = folder / "wrapper.sh"
        script.write_text(wrapper)
        lines.append(f"ForceCommand sh {script}")
    (folder / "config").write_text("\n".join(lines) + "\n")
    assert SSHD is not None
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(parents=True, exist_ok=True)
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [SSHD, "-D", "-e", "-f", str(folder / "config")], stdout=log, stderr=log,
        start_new_session=True,
    )  # fmt: skip
    try:
        _wait(port, process, folder / "log")
        options = {
            "IdentityFile": str(folder / "user"),
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(folder / "known"),
            "GlobalKnownHostsFile": "/dev/null",
        }
        yield Server(f"ssh://127.0.0.1:{port}", options, home)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=10)
        log.close()


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(log.read_text())
