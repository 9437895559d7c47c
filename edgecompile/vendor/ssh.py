"""Commands on another machine by the user's own OpenSSH: its keys, agent, config and host checking.

A command is a fixed script; everything that varies goes to it as an argument, quoted for the shell
of the other side, so that no name can run anything there.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.parse import urlsplit

from edgecompile.diagnostics.catalogue.remote import BAD_ADDRESS, NO_SSH, UNREACHABLE

LOST = 255
"""What ssh exits with when it is not the remote command that failed."""
_USER = re.compile(r"[A-Za-z0-9_][\w.-]*")
_HOST = re.compile(r"[A-Za-z0-9_][\w.-]*|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+")
_SOCKET = "s"
_QUIET = ("-o", "LogLevel=ERROR", "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15")


@dataclass(frozen=True, kw_only=True)
class Address:
    """A machine as ssh knows it. The parts are checked: none can be taken for an option."""

    user: str | None
    host: str
    port: int | None

    def __str__(self) -> str:
        """`ssh://user@host:port`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = "" if self.user is None else f"{self.user}@"
        return f"ssh://{user}{host}" + ("" if self.port is None else f":{self.port}")


def parse_address(text: str) -> Address:
    """`ssh://user@host:port`, user and port optional. Raises EC-530 for anything else."""

    def bad(problem: str) -> Exception:
        return BAD_ADDRESS.error(address=text, problem=problem)

    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise bad(str(error)) from None
    if parts.scheme != "ssh":
        raise bad("it does not begin with ssh://")
    if parts.password is not None or parts.path or parts.query or parts.fragment:
        raise bad("it has more than a user, a host and a port")
    user, host = parts.username, parts.hostname or ""
    if not _HOST.fullmatch(host):
        raise bad(f"'{host}' is no name of a host")
    if user is not None and not _USER.fullmatch(user):
        raise bad(f"'{user}' is no name of a user")
    return Address(user=user, host=host, port=port)


class Connection:
    """One connection, shared by every command; use it as a context manager."""

    def __init__(self, address: Address, *, options: Mapping[str, str] | None = None) -> None:
        """`options` are further settings of ssh_config, such as an identity file.

        Raises EC-531 where there is no ssh.
        """
        ssh = shutil.which("ssh")
        if ssh is None:
            raise NO_SSH.error(address=address)
        self.address = address
        self._ssh = ssh
        self._options = dict(options or {})

    def __enter__(self) -> Self:
        """Nothing is sent before the first command."""
        self._folder = tempfile.TemporaryDirectory(prefix="ec-")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the shared connection."""
        command = [*self._command(), "-O", "exit", *self._destination()]
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(command, capture_output=True, check=False, timeout=20)
        self._folder.cleanup()

    def run(
        self,
        script: str,
        *arguments: str,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
        told: Callable[[str], None] | None = None,
    ) -> tuple[int, bytes]:
        """Run `script` in `sh` there with `arguments` as $1, $2, ...: exit code and output.

        Output goes to `stdout` where it is given; `told` gets it line by line, too. Raises EC-532
        when the machine cannot be reached or is lost.
        """
        remote = " ".join(shlex.quote(part) for part in ("sh", "-c", script, "sh", *arguments))
        command = [*self._command(), *self._destination(), remote]
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=subprocess.PIPE if stdout is None else stdout,
                stderr=errors,
            )
            try:
                output = _read(process, told)
                code = process.wait()
            finally:
                process.kill()
                process.wait()
            errors.seek(0)
            text = errors.read().decode("utf-8", errors="replace")
        if code == LOST:
            reason = " ".join(text.split()) or "ssh gives no reason"
            hints = tuple(hint.replace("{address}", str(self.address)) for hint in UNREACHABLE.fix)
            raise UNREACHABLE.error(address=self.address, reason=reason[-400:], hints=hints)
        return code, output + text.encode()

    def _command(self) -> list[str]:
        socket = str(Path(self._folder.name) / _SOCKET)
        command = [self._ssh, "-T", *_QUIET]
        command += [
            "-o",
            "ControlMaster=auto",
            "-o",
            f"ControlPath={socket}",
            "-o",
            "ControlPersist=60",
        ]
        if not sys.stdin.isatty():
            command += ["-o", "BatchMode=yes"]
        for name, value in self._options.items():
            command += ["-o", f"{name}={value}"]
        if self.address.port is not None:
            command += ["-p", str(self.address.port)]
        return command

    def _destination(self) -> list[str]:
        user = "" if self.address.user is None else f"{self.address.user}@"
        return ["--", f"{user}{self.address.host}"]


def _read(process: subprocess.Popen[bytes], told: Callable[[str], None] | None) -> bytes:
    if process.stdout is None:
        return b""
    lines = []
    with process.stdout as pipe:
        for line in pipe:
            lines.append(line)
            if told is not None:
                told(line.decode("utf-8", errors="replace").rstrip())
    return b"".join(lines)
