"""Shell completion: commands, options, targets, recipes, passes, methods and codes."""

from __future__ import annotations

import pytest

from tests.support.cli import run_process


def offered(words: str) -> list[str]:
    """What bash offers for the last of `words`."""
    index = len(words.split(" ")) - 1
    ran = run_process(
        COMP_WORDS=words, COMP_CWORD=str(index), _EDGECOMPILE_COMPLETE="complete_bash"
    )
    assert (ran.code, ran.err) == (0, "")
    return ran.out.split()


@pytest.mark.parametrize(
    ("words", "some"),
    [
        ("edgecompile b", {"build"}),
        ("edgecompile cache ", {"list", "why", "gc"}),
        ("edgecompile build --ca", {"--calibration", "--cache-dir"}),
        ("edgecompile build model.onnx --target intel-n", {"intel-nuc"}),
        ("edgecompile build model.onnx --target nu", {"nuc"}),
        ("edgecompile targets intel-", {"intel-nuc", "intel-xeon-dlboost"}),
        ("edgecompile build model.onnx --recipe openvino-int8", {"openvino-int8"}),
        ("edgecompile passes quantize_", {"quantize_static", "quantize_weights"}),
        ("edgecompile calibrate model.onnx --method e", {"entropy"}),
        ("edgecompile explain EC-20", {"EC-201", "EC-202"}),
        ("edgecompile explain --format ", {"human", "json"}),
    ],
)
def test_bash_is_offered(words, some):
    names = offered(words)
    assert some <= set(names)
    assert all(name.startswith(words.rsplit(" ", 1)[1]) for name in names)


def test_paths_are_left_to_the_shell():
    assert offered("edgecompile build exam") == []


def test_the_script_of_a_shell_can_be_shown(tmp_path):
    ran = run_process("--show-completion", HOME=str(tmp_path), SHELL="/bin/bash")
    assert ran.code in (0, 1)
    assert ran.code == 1 or "_edgecompile_completion" in ran.out
