"""Create virtualenvs of Mistral in ``.e2e`` of the checkout, and build the checkout's distributions.

A base virtualenv contains Mistral and a driver for the database, without st2actions-mistral. It never
changes: tests use copies. It is created again if ``mistral.txt`` or the version of Python changes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
CACHE = ROOT / ".e2e"
DRIVERS = Path(__file__).with_name("mistral.txt")

VERSIONS = "ST2_MISTRAL_E2E_VERSIONS"
"""Environment variable with the versions of Mistral to test, separated by spaces."""

DEFAULT_VERSIONS = "23.0.0 20.2.0"

# Seconds. pip retries its requests; this bounds a network that hangs.
PIP_TIMEOUT = 900.0

FREEZE = """
from importlib.metadata import distributions
for found in distributions():
    print(f"{found.metadata['Name']}=={found.version}")
"""

NOT_SOURCE = shutil.ignore_patterns(".*", "*.egg-info", "*.pyc", "__pycache__", "build", "dist")


def versions() -> list[str]:
    return (os.environ.get(VERSIONS) or DEFAULT_VERSIONS).split()


@dataclass(frozen=True)
class Venv:
    path: Path

    @property
    def python(self) -> str:
        return str(self.path / "bin" / "python")

    def command(self, name: str) -> str:
        """Return the path of a console script."""
        return str(self.path / "bin" / name)

    def run(self, *args: str | Path, cwd: Path | None = None, check: bool = True) -> str:
        """Run a command, given by its path, and return its output, both streams."""
        return run(*args, cwd=cwd or self.path, check=check)

    def pip(self, *args: str | Path, cwd: Path | None = None) -> str:
        return self.run(self.python, "-m", "pip", *args, cwd=cwd)

    def freeze(self) -> set[str]:
        """Return the installed packages, as ``name==version``."""
        # It takes a tenth of the time of "pip freeze".
        return set(self.run(self.python, "-c", FREEZE).splitlines())

    def files(self) -> set[str]:
        """Return all files of the virtualenv."""
        return {
            str(path.relative_to(self.path))
            for path in self.path.rglob("*")
            if path.is_file() or path.is_symlink()
        }

    def copy(self, to: Path) -> Venv:
        """Copy the virtualenv, and point its scripts to the copy.

        The files are hard links: pip and Python replace files, they never write into one.
        """
        shutil.copytree(self.path, to, symlinks=True, copy_function=os.link)
        old, new = os.fsencode(self.path), os.fsencode(to)
        for script in (to / "bin").iterdir():
            # python itself is a link out of the virtualenv, and finds the virtualenv by its own path.
            if not script.is_symlink() and old in (text := script.read_bytes()):
                mode = script.stat().st_mode
                script.unlink()
                script.write_bytes(text.replace(old, new))
                script.chmod(mode)
        return Venv(to)


def run(*args: str | Path, cwd: Path, check: bool = True) -> str:
    done = subprocess.run(
        [str(arg) for arg in args],
        cwd=cwd,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PIP_TIMEOUT,
        check=False,
    )
    if check and done.returncode:
        raise AssertionError(f"{args[0]} {args[1:]} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def clean_environment() -> dict[str, str]:
    """Return this environment without the variables that add packages of another Python."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return environment | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def base(version: str) -> Venv:
    """Return the virtualenv of a version of Mistral, and create it if needed."""
    wanted = [f"mistral=={version}"]
    return _cached(f"mistral-{version}", [*wanted, "--requirement", str(DRIVERS)])


def stackstorm() -> Venv:
    """Return a virtualenv with those packages of StackStorm 3.9.0 that we depend on, at its pins."""
    pins = Path(__file__).with_name("stackstorm.txt")
    return _cached("stackstorm", pins.read_text(encoding="utf-8").split())


@contextmanager
def working_folder() -> Iterator[Path]:
    """Yield a folder for copies of virtualenvs, on the same file system, and remove it at the end."""
    folder = CACHE / f"run-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Distribution:
    source: Path
    """A copy of the checkout, without files that git ignores."""
    sdist: Path
    wheel: Path
    """Built from the sdist, so that a file missing there is missing here too."""
    sandbox_wheel: Path
    """The wheel of the distribution in ``sandbox/``, also built from its sdist."""


def build(folder: Path) -> None:
    """Build wheels and sdists from a copy of the checkout, as a build leaves files behind."""
    source, built = folder / "source", folder / "dist"
    shutil.copytree(ROOT, source, ignore=NOT_SOURCE)
    builder = _cached("builder", ["build", "setuptools>=68", "wheel"])
    for part in (source, source / "sandbox"):
        run(builder.python, "-m", "build", "--no-isolation", "--outdir", built, part, cwd=folder)


def distribution(folder: Path) -> Distribution:
    """Return what :func:`build` has put into a folder."""
    source, built = folder / "source", folder / "dist"
    (sdist,) = built.glob("st2actions_mistral-*.tar.gz")
    (wheel,) = built.glob("st2actions_mistral-*.whl")
    (sandbox_wheel,) = built.glob("st2_mistral_sandbox-*.whl")
    return Distribution(source, sdist, wheel, sandbox_wheel)


def _cached(name: str, requirements: list[str]) -> Venv:
    python = f"py{sys.version_info.major}{sys.version_info.minor}"
    venv = Venv(CACHE / f"{name}-{python}")
    stamp = venv.path / "made-of.txt"
    made_of = "\n".join([sys.version, *requirements, DRIVERS.read_text(encoding="utf-8")])
    with _locked(venv.path.name):
        if not stamp.is_file() or stamp.read_text(encoding="utf-8") != made_of:
            shutil.rmtree(venv.path, ignore_errors=True)
            run(sys.executable, "-m", "venv", venv.path, cwd=CACHE)
            venv.pip("install", "--quiet", *requirements)
            stamp.write_text(made_of, encoding="utf-8")
    return venv


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """Lock a virtualenv against other test runs in the same checkout."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
