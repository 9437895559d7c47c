"""What TensorRT 8 is told of single layers through its Python package.

The library is played by a stand-in that writes down what it is told: this tests our own logic.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from edgecompile.vendor.tensorrt.builder import _timing_cache
from edgecompile.vendor.tensorrt.library import TensorRt


class Config:
    """Takes the timing caches of one version; `loads` is what it makes of others."""

    def __init__(self, loads: object = "of another") -> None:
        self.loads, self.taken = loads, None

    def create_timing_cache(self, content: bytes) -> object:
        return content if content in (b"", b"good") else self.loads

    def set_timing_cache(self, cache: object, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        fits = cache in (b"", b"good")
        self.taken = cache if fits else self.taken
        return fits


@pytest.mark.parametrize("loads", ["of another", None])
def test_a_timing_cache_of_another_version_gives_way_to_an_empty_one(tmp_path, loads):
    path = tmp_path / "timing.cache"
    config = Config(loads)
    assert _timing_cache(config, None) is None
    assert _timing_cache(config, str(path)) == config.taken == b""
    path.write_bytes(b"good")
    assert _timing_cache(config, str(path)) == config.taken == b"good"
    path.write_bytes(b"stale")
    assert _timing_cache(config, str(path)) == config.taken == b""


class Layer:
    def __init__(self, name: str) -> None:
        self.name, self.precision, self.output = name, None, None

    def set_output_type(self, index: int, kind: str) -> None:
        self.output = (index, kind)


def told(monkeypatch, version: str, **options):
    flags = SimpleNamespace(OBEY_PRECISION_CONSTRAINTS="obey", PREFER_PRECISION_CONSTRAINTS="like")
    api = SimpleNamespace(
        __version__=version, BuilderFlag=flags, DataType=SimpleNamespace(HALF="half", FLOAT="float")
    )
    monkeypatch.setattr("importlib.import_module", lambda name: api)
    layers = [Layer("a"), Layer("b")]
    network = SimpleNamespace(num_layers=2, get_layer=layers.__getitem__)
    given: list[str] = []
    TensorRt().constrain(network, SimpleNamespace(set_flag=given.append), options)
    return layers, given


def test_layers_by_name_and_no_others(monkeypatch):
    options = {"layer_precisions": {"b": "fp32", "gone": "fp32"}, "constraint": "obey"}
    (a, b), flags = told(monkeypatch, "8.5.2", **options)
    assert flags == ["obey"]
    assert (a.precision, b.precision, b.output) == (None, "float", (0, "float"))


def test_half_is_preferred(monkeypatch):
    options = {"layer_precisions": {"a": "fp16"}, "constraint": "prefer"}
    (a, _), flags = told(monkeypatch, "8.5.2", **options)
    assert (flags, a.precision, a.output) == (["like"], "half", None)


@pytest.mark.parametrize(
    ("version", "options"),
    [("10.3.0", {}), ("8.5.2", {"dla_core": 0}), ("8.5.2", {"constraint": ""})],
)
def test_where_the_graph_types_layers_nothing_is_told(monkeypatch, version, options):
    given = {"layer_precisions": {"a": "fp16"}, "constraint": "prefer", **options}
    assert told(monkeypatch, version, **given)[1] == []
