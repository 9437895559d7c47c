"""What edgecompile ships counts into its digest: code, facts of targets, scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecompile.store import code
from edgecompile.store.memo import Memo


@pytest.mark.parametrize("name", ["pass.py", "data/device.yaml", "kits/run.sh"])
def test_every_shipped_file_counts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code, "ROOT", tmp_path)
    path = tmp_path / "targets" / name
    path.parent.mkdir(parents=True)
    digests = set()
    for text in ("one", "other"):
        path.write_text(text)
        digests.add(code.code_sha256.__wrapped__(("targets",), Memo(None)))
    assert len(digests) == 2


def test_compiled_python_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "ROOT", tmp_path)
    (tmp_path / "passes").mkdir()
    (tmp_path / "passes" / "a.py").write_text("pass")
    before = code.code_sha256.__wrapped__(("passes",), Memo(None))
    (tmp_path / "passes" / "a.pyc").write_bytes(b"compiled")
    assert code.code_sha256.__wrapped__(("passes",), Memo(None)) == before
