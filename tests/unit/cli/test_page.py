"""Pages, sinks and units: what people see."""

from __future__ import annotations

import io

import pytest

from edgecompile.cli.page import Cell, Column, PlainPage
from edgecompile.cli.rich_page import RichPage, new_console
from edgecompile.cli.rich_sink import RichSink
from edgecompile.cli.session import Format, Session
from edgecompile.cli.sink import PlainSink
from edgecompile.cli.streams import is_rich, printable
from edgecompile.cli.units import bytes_text, parse_age_s, parse_bytes, seconds_text
from edgecompile.diagnostics import Diagnostic, EdgecompileError, ExitCode, Severity

ATTACK = "conv\x1b[2J\x1b]0;owned\x07"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def test_plain_tables_are_padded_and_never_wrapped():
    stream = io.StringIO()
    page = PlainPage(stream)
    page.heading("Steps")
    page.table(
        (Column("step"), Column("time", number=True)), [("calibrate", "12 ms"), ("x" * 200, "1 s")]
    )
    rows = stream.getvalue().splitlines()
    assert rows[0] == "Steps"
    assert len({len(row) for row in rows[1:]}) == 1
    assert rows[2].endswith("12 ms")


@pytest.mark.parametrize("make", [PlainPage, lambda s: RichPage(new_console(s))])
def test_names_cannot_drive_the_terminal(make):
    stream = io.StringIO()
    page = make(stream)
    page.line(ATTACK)
    page.table((Column("name"),), [(Cell(ATTACK, "bad"),)])
    page.pairs({"name": ATTACK})
    assert "\x1b[2J" not in stream.getvalue()
    assert "\x07" not in stream.getvalue()
    assert stream.getvalue().count("\\x1b[2J") == 3


def test_printable_keeps_text_as_it_is():
    assert printable("Ω [red] ✓") == "Ω [red] ✓"


def test_rich_shows_markup_of_users_as_text():
    stream = io.StringIO()
    RichPage(new_console(stream)).line("[bold]node[/bold] :smile:")
    assert stream.getvalue().strip() == "[bold]node[/bold] :smile:"


@pytest.mark.parametrize("name", ["NO_COLOR", "CI"])
def test_no_decoration_in_ci_and_under_no_color(monkeypatch, name):
    for other in ("NO_COLOR", "CI", "TERM"):
        monkeypatch.delenv(other, raising=False)
    assert is_rich(Terminal())
    monkeypatch.setenv(name, "1")
    assert not is_rich(Terminal())


def test_no_decoration_on_pipes_and_narrow_code_pages(monkeypatch):
    for other in ("NO_COLOR", "CI", "TERM"):
        monkeypatch.delenv(other, raising=False)
    assert not is_rich(io.StringIO())
    terminal = Terminal()
    terminal.encoding = "cp1252"
    assert not is_rich(terminal)


def test_plain_sink_writes_one_line_per_step():
    stream = io.StringIO()
    sink = PlainSink(stream)
    sink.step_started("calibrate")
    sink.progress("calibrate", 5, 10)
    sink.step_finished("calibrate", seconds=1.25, cached=False, summary="minmax, 10 samples")
    sink.step_finished("emit openvino-ir", seconds=0.01, cached=True, summary="")
    assert stream.getvalue().split("\n") == [
        "calibrate                       1.2 s  minmax, 10 samples",
        "emit openvino-ir               cached",
        "",
    ]


def test_rich_sink_leaves_finished_steps_and_clears_the_running_one():
    terminal = Terminal()
    sink = RichSink(terminal)
    sink.step_started("calibrate")
    sink.progress("calibrate", 5, 10)
    sink.step_finished("calibrate", seconds=1.25, cached=False, summary="minmax")
    sink.step_started("quantize_static")
    sink.close()
    text = terminal.getvalue()
    assert "calibrate" in text
    assert "1.2 s" in text
    assert text.rstrip().endswith("\x1b[2K") or "\x1b[?25h" in text


def note(severity: Severity, text: str = "something") -> Diagnostic:
    return Diagnostic(code="EC-400", severity=severity, message=text)


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [(-1, ["error"]), (0, ["error", "warning"]), (1, ["error", "warning", "note"])],
)
def test_verbosity_chooses_what_is_told(capsys, verbosity, shown):
    session = Session(verbosity=verbosity)
    problems = tuple(note(s, f"a {s}") for s in Severity)
    assert session.fail(EdgecompileError(problems, ExitCode.USAGE)) == 2
    err = capsys.readouterr().err
    assert [s for s in ("error", "warning", "note") if f"a {s}" in err] == shown


def test_diagnostics_of_the_run_reach_the_document_of_a_failure(capsys):
    session = Session(format=Format.JSON, command="build")
    session.sink.diagnostic(note(Severity.WARNING, "first"))
    session.fail(EdgecompileError((note(Severity.ERROR, "then"),), ExitCode.USAGE))
    out = capsys.readouterr().out
    assert out.index("first") < out.index("then")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (999.6, "1 kB"), (96_712, "96.7 kB"), (4_812_345, "4.81 MB")],
)
def test_sizes_read_well(count, text):
    assert bytes_text(count) == text


def test_sizes_and_ages_are_parsed():
    assert parse_bytes("5GB") == 5_000_000_000
    assert parse_bytes("1.5 mb") == 1_500_000
    assert parse_bytes("12") == 12
    assert parse_age_s("30d") == 30 * 86400
    assert parse_age_s("1.5h") == 5400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0004, "0 ms"),
        (0.0994, "99 ms"),
        (0.0996, "0.1 s"),
        (59.96, "60.0 s"),
        (125, "2 min 05 s"),
    ],
)
def test_durations_read_well(seconds, text):
    assert seconds_text(seconds) == text
