"""Every git command of lmbench: it finds its repository from a folder alone, and changes, runs or asks for nothing else.

What a hook's environment says of the commit in progress is left out, hooks and prompts are off, nothing is fetched. What
decides the bytes of a checkout stays the user's: filters, line endings, sparse checkout, and which owners are trusted.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

LOCAL_VARIABLES = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_PARAMETERS",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_NAMESPACE",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_SUPER_PREFIX",
        "GIT_WORK_TREE",
    }
)
"""What `git rev-parse --local-env-vars` prints in any version, and what a server adds for a push that is not accepted yet.
Git sets them for hooks; a git command for another tree that sees them writes into the commit in progress."""
QUIET = {
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "SSH_ASKPASS_REQUIRE": "never",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "true",
}
"""No transport at all, also none for the missing objects of a partial clone; no refreshed index; nobody is asked."""
SETTINGS = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "log.showSignature=false", "commit.gpgSign=false", "gc.auto=0")
KEPT_SETTINGS = ("safe.", "filter.", "core.autocrlf", "core.eol", "core.attributesfile", "core.symlinks", "core.filemode")
"""Of the settings that the environment carries (git -c, GIT_CONFIG_COUNT): whom to trust, and what a file's bytes are."""
TIMEOUT_S = 300.0
GRACE_S = 5.0


def git(folder: Path, *arguments: str, parsed: bool = True, timeout_s: float = TIMEOUT_S) -> tuple[str | None, str]:
    """What git prints in `folder` without its last line break; None and the reason when it fails.

    With `parsed` git speaks plain English. A checkout goes without, so that the user's filters run in the user's locale.
    """
    options = [word for setting in SETTINGS for word in ("-c", setting)]
    command = ["git", "-C", str(folder), "--no-pager", *options, *arguments]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(folder, parsed=parsed),
            start_new_session=True,  # without a terminal nothing can prompt
        )
    except OSError as error:
        return None, f"git cannot be run: {error.strerror}"
    try:
        output, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return None, f"git {arguments[0]} took more than {timeout_s:g} s"
    finally:
        _end(process)
    if process.returncode == 0:
        return os.fsdecode(output).removesuffix("\n"), ""
    return None, _reason(os.fsdecode(errors), process.returncode)


def without_git(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` for a process that may use git in another tree: without what git says of the command it runs for.

    Settings that decide whom to trust and what a file's bytes are stay, also when the environment carries them.
    """
    kept = _kept(environment)
    settings = {"GIT_CONFIG_COUNT": str(len(kept))} if kept else {}
    for index, (key, value) in enumerate(kept):
        settings |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    others = {
        name: value
        for name, value in environment.items()
        if name not in LOCAL_VARIABLES and not name.startswith(("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"))
    }
    return {**others, **settings}


@contextmanager
def no_git_variables() -> Iterator[None]:
    """Within the block this process's own environment is `without_git`: for code of others that runs git here."""
    before = dict(os.environ)
    clean = without_git(before) | {"GIT_OPTIONAL_LOCKS": QUIET["GIT_OPTIONAL_LOCKS"]}
    try:
        _replace(clean)
        yield
    finally:
        _replace(before)


def untrusted(why: str) -> bool:
    """Whether `why` is git's refusal to read a repository of another owner."""
    return "dubious ownership" in why or "unsafe repository" in why


def _replace(environment: Mapping[str, str]) -> None:
    for name in [name for name in os.environ if name not in environment]:
        del os.environ[name]
    os.environ.update(environment)


def _environment(folder: Path, *, parsed: bool) -> dict[str, str]:
    plain = {"LC_ALL": "C", "LANGUAGE": ""} if parsed else {}
    return {**without_git(os.environ), **_named(folder, os.environ), **plain, **QUIET}


def _named(folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The repository that the environment names, for a folder of its work tree in which git would find none by itself.

    Some keep a bare repository apart from its files and name both; in every other layout the folder decides.
    """
    named, top = environment.get("GIT_DIR"), environment.get("GIT_WORK_TREE")
    if not named or not top:
        return {}
    root, here = Path(top).resolve(), folder.resolve()
    between = [place for place in (here, *here.parents) if place.is_relative_to(root)]
    if not between or any((place / ".git").exists() for place in between):
        return {}
    return {"GIT_DIR": str(Path(named).resolve()), "GIT_WORK_TREE": str(root)}


def _kept(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Those of KEPT_SETTINGS that `environment` carries, as git would read them."""
    found: list[tuple[str, str]] = []
    count = environment.get("GIT_CONFIG_COUNT", "")
    for index in range(int(count) if count.isdigit() else 0):
        found.append((environment.get(f"GIT_CONFIG_KEY_{index}", ""), environment.get(f"GIT_CONFIG_VALUE_{index}", "")))
    with contextlib.suppress(ValueError):  # quotes that do not match: nothing of git's own making
        for word in shlex.split(environment.get("GIT_CONFIG_PARAMETERS", "")):
            key, equals, value = word.partition("=")
            found.append((key, value if equals else "true"))
    return [pair for pair in found if pair[0].lower().startswith(KEPT_SETTINGS)]


def _reason(errors: str, status: int) -> str:
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith("fatal: ")]
    return (fatal or lines or [f"git ended with exit status {status}"])[-1].removeprefix("fatal: ")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing of git stays, not after Ctrl-C either; it gets the time to remove a checkout that it had only begun."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
