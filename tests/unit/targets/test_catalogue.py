"""The target catalogue: every file valid, every figure sourced, every name found or explained."""

from importlib import resources

import pytest

from edgecompile.diagnostics import EdgecompileError
from edgecompile.targets.catalogue import (
    _head_aliases,
    all_targets,
    declared_facts,
    facts_sha256,
    load_target,
    parse_target,
    planned_targets,
)
from edgecompile.targets.schema import Kind, Saturation
from edgecompile.targets.view import UndeclaredFactError, declared

DATA = resources.files("edgecompile.targets").joinpath("data")
FILES = sorted(e.name for e in DATA.iterdir() if e.name.endswith(".yaml"))


def _text(name: str) -> str:
    return DATA.joinpath(name).read_text(encoding="utf-8")


def _error(text: str) -> EdgecompileError:
    with pytest.raises(EdgecompileError) as caught:
        parse_target(text, "mine.yaml")
    return caught.value


@pytest.mark.parametrize("file", FILES)
def test_file_is_valid_and_named_after_its_id(file):
    target = parse_target(_text(file), file)
    assert f"{target.id}.yaml" == file
    assert _head_aliases(_text(file)) is not None
    assert tuple(_head_aliases(_text(file))) == target.aliases


@pytest.mark.parametrize("file", FILES)
def test_every_figure_has_a_source_that_resolves(file):
    target = parse_target(_text(file), file)
    for name, fact in target.hardware.items():
        if fact.value is None:
            assert fact.kind is Kind.NOT_SOURCED, name
        else:
            assert fact.source, name
    assert target.cited == target.sources.keys()
    assert target.precision_source
    assert target.opset.source
    if target.quantization is None:
        assert target.float_only
    else:
        assert target.quantization.source


def test_the_intel_targets_are_served():
    assert set(all_targets()) >= {
        "intel-nuc", "intel-xeon-dlboost", "core-ultra-gpu", "lunar-lake-gpu",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("intel-nuc", "intel-nuc"),
        ("nuc", "intel-nuc"),
        ("intel-cpu", "intel-nuc"),
        ("xeon-dl-boost", "intel-xeon-dlboost"),
        ("core-ultra-mtl-gpu", "core-ultra-gpu"),
        ("core-ultra-200v-gpu", "lunar-lake-gpu"),
    ],
)
def test_alias_finds_its_target(name, id_):
    assert load_target(name).id == id_


def test_saturation_follows_from_vnni():
    style = {id_: t.quantization for id_, t in all_targets().items()}
    assert style["intel-nuc"].saturation is Saturation.SOME
    assert style["intel-xeon-dlboost"].saturation is Saturation.NEVER
    assert style["core-ultra-gpu"].saturation is Saturation.NEVER


def test_gpu_artifacts_are_never_called_verified():
    for target in all_targets().values():
        if target.openvino is not None and target.openvino.device == "GPU":
            assert {rule.status for rule in target.artifacts} == {"checked"}
            assert all("CPU plugin" in rule.why for rule in target.artifacts)


def test_only_a_machine_that_is_the_device_may_call_an_engine_verified():
    for target in all_targets().values():
        for rule in target.artifacts:
            if rule.format == "tensorrt-engine":
                assert any(r.instead_of == rule.format for r in target.artifacts)


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("jetson-orin", "jetson-agx-orin-64"),
        ("clara-guardian", "igx-orin-clara"),
        ("igx-orin", "igx-orin-clara"),
        ("t4", "egx-t4"),
        ("a100", "egx-a100"),
        ("rtx", "rtx-pc"),
        ("tegra-x1", "jetson-nano"),
    ],
)
def test_names_that_people_type_for_nvidia(name, id_):
    assert load_target(name).id == id_


def test_null_stays_null():
    nuc = load_target("intel-nuc")
    assert nuc.hardware["mem_bw_gbs"].value is None
    assert nuc.hardware["gpu_int8_tops_dense"].value is None
    assert nuc.hardware["tdp_w"].value == (15, 45)


def test_unknown_name_offers_the_nearest():
    with pytest.raises(EdgecompileError) as caught:
        load_target("intel-nux")
    (problem,) = caught.value.diagnostics
    assert problem.code == "EC-201"
    assert "'intel-nuc'" in problem.hints[0]
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", sorted(planned_targets()))
def test_planned_target_is_known_but_not_served(name):
    with pytest.raises(EdgecompileError) as caught:
        load_target(name)
    (problem,) = caught.value.diagnostics
    assert problem.code == "EC-202"
    assert name in problem.message


def test_no_name_is_both_served_and_planned():
    served = {n for t in all_targets().values() for n in (t.id, *t.aliases)}
    planned = {n for id_, more in planned_targets().items() for n in (id_, *more)}
    assert not served & planned


def test_looking_a_name_up_reads_only_the_head():
    assert list(_head_aliases("schema: s\nid: a\naliases: [b, c]\nrest: [broken")) == ["b", "c"]
    assert list(_head_aliases("id: a\nnested: {aliases: [x]}\naliases: [b]\n")) == ["b"]


def test_misspelt_key_and_wrong_value_are_reported_together_with_their_places():
    text = (
        _text("intel-nuc.yaml")
        .replace("vendor: Intel", "vender: Intel")
        .replace("saturation: some", "saturation: maybe")
    )
    error = _error(text)
    places = {(d.where.line, d.message.split(":")[1].strip()) for d in error.diagnostics}
    vendor = text.splitlines().index("vender: Intel") + 1
    saturation = next(i for i, s in enumerate(text.splitlines(), 1) if "saturation: maybe" in s)
    assert (vendor, "vender") in places
    assert (saturation, "quantization.saturation") in places
    assert (1, "vendor") in places


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("value: 1.69, kind: secondary, source: [XEGPU]", "value: 1.69, kind: secondary", "source"),
        ("mem_bw_gbs: {value: null", "mem_bw_gbs: {value: 50", "not_sourced"),
        ("value: 1.69, kind: secondary, source: [XEGPU]",
         "value: 1.69, kind: secondary, source: [WEB]", "WEB"),
        ("zero_point_0: [ConvTranspose]", "zero_point_0: [Conv3]", "Conv3"),
        ("shared_scale: [Concat", "shared_scale: [Conv", "both"),
    ],
)  # fmt: skip
def test_a_figure_without_a_source_is_refused(old, new, says):
    text = _text("intel-nuc.yaml")
    assert old in text
    error = _error(text.replace(old, new))
    assert error.diagnostics[0].code == "EC-203"
    assert says in error.diagnostics[0].message


def test_facts_digest_follows_every_fact():
    nuc = load_target("intel-nuc")
    other = nuc.model_copy(update={"static_shapes": True})
    assert facts_sha256(nuc) == facts_sha256(load_target("nuc"))
    assert facts_sha256(nuc) != facts_sha256(other)
    assert len(facts_sha256(nuc)) == 64


def test_declared_facts_are_json_and_only_those_asked_for():
    facts = declared_facts(load_target("intel-nuc"), ("quantization", "opset"))
    assert list(facts) == ["opset", "quantization"]
    assert facts["quantization"]["saturation"] == "some"
    with pytest.raises(KeyError):
        declared_facts(load_target("intel-nuc"), ("quantisation",))


def test_view_shows_declared_facts_and_raises_for_others():
    view = declared(load_target("intel-nuc"), ("opset",))
    assert view.opset.max == 23
    with pytest.raises(UndeclaredFactError, match="'quantization'"):
        _ = view.quantization
    with pytest.raises(KeyError):
        declared(load_target("intel-nuc"), ("no_such_fact",))
