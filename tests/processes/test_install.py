"""Installation by wheel, sdist and repository into virtualenvs of Mistral and StackStorm."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.cluster import venvs

# The first test of a version builds its virtualenv.
pytestmark = pytest.mark.timeout(900)

NAME = "st2actions-mistral"
SAMPLE = venvs.ROOT / "etc" / "st2actions-mistral.conf.sample"

ACTIONS = {
    "st2.action": "st2actions_mistral.actions.action:St2Action",
    "st2.callback": "st2actions_mistral.actions.callback:St2Callback",
}

LOAD = """
import json
import st2actions_mistral, stevedore

def failed(manager, entry_point, error):
    raise error

# Only ours: some of Mistral's own cannot be loaded before the rest of Mistral is.
found = stevedore.NamedExtensionManager(
    "mistral.actions", ["st2.action", "st2.callback"], on_load_failure_callback=failed
)
actions = {e.name: e.entry_point_target for e in found}
print(json.dumps({"actions": actions, "package": st2actions_mistral.__file__}))
"""


# All of the runner but its shell, which needs StackStorm.
LOAD_RUNNER = """
import importlib.metadata, importlib.resources, json
import st2actions_mistral.runner.starting, st2actions_mistral.runner.control
import st2actions_mistral.runner.options

(found,) = importlib.metadata.entry_points(group="st2common.runners.runner")
yaml = importlib.resources.files("st2actions_mistral.runner").joinpath("runner.yaml")
assert yaml.is_file()
print(json.dumps({"entry_point": found.value, "yaml": str(yaml)}))
"""


@dataclass(frozen=True)
class Place:
    """A virtualenv with Mistral, and an empty working directory."""

    venv: venvs.Venv
    empty: Path

    def run(self, command: str, *args: str | Path, check: bool = True) -> str:
        return self.venv.run(self.venv.command(command), *args, cwd=self.empty, check=check)

    def pip(self, *args: str | Path) -> str:
        return self.venv.pip(*args, cwd=self.empty)


@pytest.fixture
def place(version: str, working_folder: Path, tmp_path: Path) -> Place:
    copied = working_folder / f"install-{version}"
    shutil.rmtree(copied, ignore_errors=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    return Place(venvs.base(version).copy(copied), empty)


def source_of(way: str, distribution: venvs.Distribution, folder: Path) -> Path:
    if way == "repository":
        # A build writes into its folder.
        checkout = folder / "checkout"
        shutil.copytree(distribution.source, checkout, ignore=venvs.NOT_SOURCE)
        return checkout
    return distribution.wheel if way == "wheel" else distribution.sdist


def options(sample: str) -> set[tuple[str, str]]:
    """Return groups and names. The help texts of keystoneauth's options change with its version."""
    found, group = set(), ""
    for line in sample.splitlines():
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            group = heading[1]
        elif option := re.match(r"#?(\w+) = ", line):
            found.add((group, option[1]))
    return found


def own_group(sample: str) -> str:
    """Return the group ``[st2]`` with its help: all its options are this package's."""
    return sample.split("[st2]")[1].split("[st2_relay]")[0]


def ways() -> list[tuple[str, str]]:
    """Return versions and ways to install. All ways build the same wheel: one version shows it."""
    newest, *others = venvs.versions()
    every = [(newest, way) for way in ("wheel", "sdist", "repository")]
    return every + [(version, "wheel") for version in others]


@pytest.mark.parametrize(("version", "way"), ways())
def test_package_works_and_is_uninstalled_completely(
    place: Place, distribution: venvs.Distribution, tmp_path: Path, way: str
) -> None:
    packages, files = place.venv.freeze(), place.venv.files()
    place.pip("check")

    place.pip("install", "--quiet", source_of(way, distribution, tmp_path))

    place.pip("check")
    # Mistral has all requirements of the two actions: nothing else was installed or changed.
    assert [line for line in place.venv.freeze() - packages if not line.startswith(NAME)] == []
    assert packages <= place.venv.freeze()

    loaded = json.loads(place.run("python", "-c", LOAD))
    assert loaded["actions"] == ACTIONS
    assert Path(loaded["package"]).is_relative_to(place.venv.path)

    written = place.empty / "sample"
    place.run("oslo-config-generator", "--namespace", "st2actions_mistral", "--output-file", written)
    sample = SAMPLE.read_text(encoding="utf-8")
    generated = written.read_text(encoding="utf-8")
    written.unlink()
    assert ("st2_relay", "mistral_url") in options(sample)
    assert options(generated) == options(sample)
    assert own_group(generated) == own_group(sample)

    assert "relay" in place.run("st2-mistral", "--help")

    # No server that runs commands is installed.
    assert not [path for path in place.venv.files() - files if "sandbox" in path]
    output = place.run("st2-mistral", "sandbox", "--st2-port", "0", check=False)
    assert "pip install st2-mistral-sandbox" in output
    assert "Traceback" not in output

    place.pip("uninstall", "--yes", NAME)

    assert place.venv.freeze() == packages
    assert place.venv.files() == files
    assert list(place.empty.iterdir()) == []


def test_relay_names_the_extra_that_it_needs(place: Place, distribution: venvs.Distribution) -> None:
    place.pip("install", "--quiet", distribution.wheel)
    before = place.venv.freeze()
    place.pip("install", "--quiet", f"{distribution.wheel}[relay]")
    place.pip("check")
    assert place.venv.freeze() == before, "Mistral lacks a requirement of the relay"

    place.pip("uninstall", "--yes", "prometheus-client")
    output = place.run("st2-mistral", "relay", "--config-file", "/dev/null", check=False)
    assert "pip install '.[relay]'" in output
    assert "Traceback" not in output


def test_virtualenv_of_stackstorm_is_not_changed(
    distribution: venvs.Distribution, working_folder: Path
) -> None:
    """The virtualenv has StackStorm's pins only: StackStorm is in no package index."""
    venv = venvs.stackstorm().copy(working_folder / "install-stackstorm")
    packages, files = venv.freeze(), venv.files()
    venv.pip("check")

    venv.pip("install", "--quiet", distribution.wheel)

    venv.pip("check")
    assert packages <= venv.freeze()
    assert [line for line in venv.freeze() - packages if not line.startswith(NAME)] == []
    loaded = json.loads(venv.run(venv.python, "-c", LOAD_RUNNER, cwd=venv.path))
    assert loaded["entry_point"] == "st2actions_mistral.runner.mistral_v2"
    assert Path(loaded["yaml"]).is_relative_to(venv.path)

    venv.pip("uninstall", "--yes", NAME)
    assert venv.freeze() == packages
    assert venv.files() == files


@pytest.mark.parametrize("version", [v for v in venvs.versions() if int(v.split(".")[0]) >= 22])
def test_sandbox_has_its_examples(place: Place, distribution: venvs.Distribution, version: str) -> None:
    place.pip("install", "--quiet", distribution.wheel, distribution.sandbox_wheel)
    place.pip("check")
    assert f"mistral=={version}" in place.venv.freeze()
    listed = place.run("st2-mistral", "demo", "--list")
    metadata = (venvs.ROOT / "examples" / "actions").glob("*.yaml")
    names = {f"examples.{path.stem}" for path in metadata}
    assert len(names) > 5
    assert {name for name in names if name not in listed} == set()
