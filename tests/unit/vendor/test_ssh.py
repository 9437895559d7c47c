"""Addresses of devices, and commands over a real OpenSSH server on the loopback interface."""

from __future__ import annotations

import pytest

from edgecompile.diagnostics import EdgecompileError
from edgecompile.vendor.ssh import Connection, parse_address
from tests.support.sshd import needs_sshd, server


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("ssh://jetson.local", (None, "jetson.local", None)),
        ("ssh://nvidia@10.0.0.7:2222", ("nvidia", "10.0.0.7", 2222)),
        ("ssh://me@[fe80::1]:22", ("me", "fe80::1", 22)),
    ],
)
def test_an_address_names_a_user_a_host_and_a_port(text, parts):
    address = parse_address(text)
    assert (address.user, address.host, address.port) == parts
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "jetson", "user@jetson", "http://jetson", "ssh://", "ssh://u:secret@jetson",
        "ssh://jetson/path", "ssh://jetson:99999", "ssh://jetson:x", "ssh://-oProxyCommand=x",
        "ssh://-l@jetson", "ssh://a b@jetson", "ssh://$(id)@jetson", "ssh://jet;son",
        "ssh://`id`", "ssh://jetson?x", "ssh://jet'son",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text):
    with pytest.raises(EdgecompileError) as caught:
        parse_address(text)
    assert caught.value.diagnostics[0].code == "EC-530"


@needs_sshd
def test_arguments_reach_the_other_side_as_they_are(tmp_path):
    odd = ["a b", "$(touch marker)", "'; touch marker; '", "`touch marker`", "*", "\n", "-n", ""]
    with (
        server(tmp_path / "sshd") as there,
        Connection(parse_address(there.address), options=there.options) as device,
    ):
        code, output = device.run('printf "%s\\0" "$@"', *odd)
        assert code == 0
        assert output.decode().split("\0")[:-1] == odd
        assert device.run("exit 7")[0] == 7
        told: list[str] = []
        device.run("echo one; echo two", told=told.append)
        assert told == ["one", "two"]
        source = tmp_path / "big"
        source.write_bytes(bytes(range(256)) * 4096)
        with source.open("rb") as stream:
            assert device.run("cat", stdin=stream)[1] == source.read_bytes()


@needs_sshd
def test_a_host_whose_key_is_not_known_is_refused_as_ssh_refuses_it(tmp_path):
    with (
        server(tmp_path / "sshd", known=False) as there,
        Connection(parse_address(there.address), options=there.options) as device,
        pytest.raises(EdgecompileError) as caught,
    ):
        device.run("true")
    problem = caught.value.diagnostics[0]
    assert problem.code == "EC-532"
    assert "Host key verification failed" in problem.message


def test_a_host_that_is_not_there_is_unreachable():
    with Connection(parse_address("ssh://127.0.0.1:1")) as device:
        with pytest.raises(EdgecompileError) as caught:
            device.run("true")
        assert caught.value.diagnostics[0].code == "EC-532"
