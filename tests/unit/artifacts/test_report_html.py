"""The report page: self-contained, well formed, escaped, readable, and honest about figures."""

import math
import re
from html.parser import HTMLParser
from importlib import resources

import pytest

from edgecompile.artifacts.manifest import FidelityRecord
from edgecompile.artifacts.report import NoteRecord, StepReport
from edgecompile.artifacts.report_html import figures, render, write_html
from edgecompile.artifacts.report_html.markup import Html, el
from edgecompile.artifacts.types import Coverage, Fallback, OutputFidelity, StageFidelity
from tests.support.reports import report

BARE = {
    "calibration": None, "evaluation": None, "fidelity": None, "metrics": {}, "coverage": None,
    "budgets": (), "diagnostics": (), "latency": None, "integer_macs": None, "judged": (),
    "host": {}, "steps": (), "metric_samples": 0, "seconds": 0.0,
}  # fmt: skip


class Page(HTMLParser):
    """Checks nesting, and collects text, tags and attributes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "wbr":
            self.words.append(" ")
        if tag not in {"meta", "wbr"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())


@pytest.mark.parametrize("changes", [{}, BARE], ids=["full", "bare"])
def test_page_is_well_formed_and_refers_to_nothing_outside(changes):
    text = render(report(**changes))
    page = Page(text)
    assert page.tags.count("h1") == 1
    assert not {"script", "link", "img", "iframe", "object", "form", "a"} & set(page.tags)
    assert not {"src", "href", "onclick", "srcset"} & {name for name, _ in page.attributes}
    assert not re.search(r"https?:|url\(|@import|@font-face", text)
    assert "default-src 'none'" in dict(page.attributes)["content"]


def test_page_shows_everything_that_matters():
    text = Page(render(report())).text
    for words in (
        "model.onnx for intel-nuc", "verified", "41.9 kB", "2.30\u00d7 smaller than 96.4 kB",
        "98.00 %", "0.99917",
        "missed 2 budgets", "\u2265 0.99", "not measured", "exact arithmetic",
        "runtime arithmetic", "as the target computes", "kernels capped at AVX2", "93.8 %",
        "head/Softmax", "the runtime has no integer kernel", "quantize_static", "cached",
        "+18 QuantizeLinear", "EC-651", "try '--recipe openvino-int8-weights'", "5f" * 32,
        "digits-calibration.npz", "openvino 2026.4.1", "on the build machine: not the device",
        "97.3 %", "inline_functions: true",
    ):  # fmt: skip
        assert words in text, words


def test_the_same_report_gives_the_same_page(tmp_path):
    write_html(report(), tmp_path / "a.html")
    write_html(report(), tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_names_from_a_model_cannot_break_out():
    evil = "</td><script>alert('x')</script>\"&\x00"
    step = StepReport(
        step=evil, seconds=1, summary=evil, notes=(NoteRecord(message=evil, node=evil),)
    )
    found = Coverage(nodes=1, accelerated=0, fallback=(Fallback(node=evil, op=evil, reason=evil),),
                     precision={"fp32": 1})  # fmt: skip
    outputs = {evil: OutputFidelity(cosine=1, sqnr_db=math.inf, max_abs=0)}
    stage = StageFidelity(arithmetic="exact", runtime=evil, outputs=outputs)
    fidelity = FidelityRecord(samples=1, held_out=False, stages={"artifact": stage})
    text = render(report(steps=(step,), coverage=found, fidelity=fidelity, host={evil: evil}))
    page = Page(text)
    assert "script" not in page.tags
    assert "<script" not in text
    assert "\x00" not in text
    assert "alert('x')" in page.text


def test_attributes_are_escaped_and_flags_stand_alone():
    assert el("p", class_='a"b', hidden=True, id_=None) == '<p class="a&quot;b" hidden></p>'
    assert el("p", "<b>", Html("<b></b>")) == "<p>&lt;b&gt;<b></b></p>"


def test_many_fallbacks_fold_away_by_reason_and_many_notes_are_cut():
    fallback = [Fallback(node=f"n{i}", op="Conv", reason="why one") for i in range(20)]
    fallback += [Fallback(node="m", op="Add", reason="why two")]
    found = Coverage(
        nodes=30, accelerated=9, fallback=tuple(fallback), precision={"int8": 9, "fp32": 21}
    )
    notes = tuple(NoteRecord(message=f"note {i}") for i in range(100))
    step = StepReport(step="s", seconds=1, notes=notes)
    page = Page(render(report(coverage=found, steps=(step,))))
    assert "20 layers: why one" in page.text
    assert "1 layer: why two" in page.text
    assert page.tags.count("details") == 4
    assert "note 39" in page.text
    assert "note 40" not in page.text
    assert "and 60 more, in report.json" in page.text


def test_headline_tells_the_worst_output_of_the_judged_stages():
    def stage(cosine):
        outputs = {"a": OutputFidelity(cosine=1.0, sqnr_db=60, max_abs=0),
                   "b": OutputFidelity(cosine=cosine, sqnr_db=9, max_abs=1)}  # fmt: skip
        return StageFidelity(arithmetic="exact", runtime="r", outputs=outputs)

    stages = {"artifact": stage(0.5), "artifact_exact": stage(0.75)}
    fidelity = FidelityRecord(samples=1, held_out=True, stages=stages)
    text = Page(render(report(fidelity=fidelity, judged=("artifact_exact",)))).text
    assert "Cosine to float 0.75000 9.0 dB at output 'b'" in text
    stages["artifact_exact"] = stage(math.nan)
    fidelity = FidelityRecord(samples=1, held_out=True, stages=stages)
    assert (
        "not a number" in Page(render(report(fidelity=fidelity, judged=("artifact_exact",)))).text
    )


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (figures.cosine(1.0), "1.00000"),
        (figures.cosine(0.9999991), "> 0.99999"),
        (figures.cosine(-0.25), "\u22120.25000"),
        (figures.decibels(math.inf), "no error"),
        (figures.decibels(-math.inf), "infinite error"),
        (figures.decibels(math.nan), "not a number"),
        (figures.percent(1.0), "100.0 %"),
        (figures.percent(0.99999), "> 99.9 %"),
        (figures.percent(0.00001), "< 0.1 %"),
        (figures.percent(0.98254, 2), "98.25 %"),
        (figures.points(-0.0025), "\u22120.25 points"),
        (figures.points(0.0), "\u00b10.00 points"),
        (figures.size(999), "999 B"),
        (figures.size(999_600), "1 MB"),
        (figures.size(41_888), "41.9 kB"),
        (figures.seconds(0.0031), "3 ms"),
        (figures.seconds(125.2), "2 min 05 s"),
        (figures.number(math.inf), "infinite"),
        (figures.count(1, "node"), "1 node"),
        (figures.count(12345, "node"), "12,345 nodes"),
    ],
)
def test_figures_are_never_rounded_to_look_better(shown, text):
    assert shown == text


def _luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "paper"),
    [("ink", "paper"), ("soft", "paper"), ("soft", "card"), ("ink", "card"), ("accent", "paper"),
     ("good", "good-back"), ("warn", "warn-back"), ("bad", "bad-back"), ("soft", "plain-back")],
)  # fmt: skip
def test_text_has_the_contrast_of_wcag_aa(scheme, ink, paper):
    style = resources.files("edgecompile.artifacts.report_html").joinpath("style.css").read_text()
    roots = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", roots[scheme]))
    light, dark = sorted((_luminance(colours[ink]), _luminance(colours[paper])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5
