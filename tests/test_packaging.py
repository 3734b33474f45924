"""What gets installed, and what answers without loading TensorFlow."""

import configparser
import importlib
import importlib.metadata
import re
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

import pytest

import keras_prompt

ROOT = Path(__file__).parents[1]
# Installed name of each folder of the checkout (package_dir in setup.cfg).
FOLDERS = {
    "keras_prompt": "keras_prompt",
    "models": "keras_prompt.models",
    "tasks": "keras_prompt.tasks",
}
OUTSIDE = ("recipes", "benchmarks", "demo")  # code that is not installed
HEAVY = ("tensorflow", "keras", "numpy", "mesh_tensorflow", "rich")


@pytest.fixture(scope="module")
def options():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def _lines(text):
    return [line for line in text.splitlines() if line.strip()]


def test_setup_cfg_lists_every_package(options):
    found = set()
    for folder, name in FOLDERS.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            inside = init.parent.relative_to(ROOT / folder)
            if inside.parts[:1] not in [("models",), ("tasks",)]:
                found.add(".".join([name, *inside.parts]))
    assert set(_lines(options["options"]["packages"])) == found


def test_every_module_lies_in_a_package():
    for folder in FOLDERS:
        for module in (ROOT / folder).rglob("*.py"):
            assert (module.parent / "__init__.py").is_file(), module


def test_each_dependency_is_pinned_for_make_within_its_bounds(options):
    from packaging.requirements import Requirement

    pinned = {}
    for line in _lines((ROOT / "requirements/runtime.txt").read_text()):
        if not line.startswith("#"):
            name, version = line.split("==")
            pinned[name.lower().replace("_", "-")] = version
    for line in _lines(options["options"]["install_requires"]):
        requirement = Requirement(line)
        version = pinned[requirement.name.lower().replace("_", "-")]
        assert requirement.specifier.contains(version), line
        assert {s.operator for s in requirement.specifier} in (
            {"=="},
            {">=", "<"},
        ), line


@pytest.mark.parametrize("name", ["runtime", "dev", "demo", "parity"])
def test_every_requirement_is_one_version(name):
    for line in _lines((ROOT / f"requirements/{name}.txt").read_text()):
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.]+", line)


@pytest.mark.parametrize("name", ["tfds-nightly", "transformers", "torch"])
def test_make_installs_no_oracle_and_no_second_tfds(name):
    pins = (ROOT / "requirements/runtime.txt").read_text()
    assert not re.search(f"^{name}==", pins, re.MULTILINE)


def test_the_wheel_has_one_top_level_and_what_presets_need(tmp_path):
    # A copy: building writes beside the sources.
    import shutil

    copy = tmp_path / "checkout"
    shutil.copytree(
        ROOT,
        copy,
        symlinks=True,
        ignore=shutil.ignore_patterns(
            ".*", "build", "dist", "runs", "*.egg-info", "__pycache__", "tests"
        ),
    )
    preset = copy / "models/t5/presets/some_preset"
    preset.mkdir(parents=True)
    (preset / "spiece.model").write_bytes(b"")
    build = (
        "import sys; from setuptools import build_meta; "
        "print(build_meta.build_wheel(sys.argv[1]))"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", build, str(tmp_path)],
        cwd=copy,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    code = {name for name in names if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in code} == {"keras_prompt"}
    for name in (
        "py.typed",
        "models/t5/stack.py",
        "models/t5/presets/some_preset/spiece.model",
        "tasks/super_glue.py",
        "cli/main.py",
    ):
        assert f"keras_prompt/{name}" in code


@pytest.mark.parametrize("folder", ["models", "tasks"])
def test_importing_a_folder_by_its_own_name_is_refused(folder):
    found = subprocess.run(
        [sys.executable, "-c", f"import {folder}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 1
    assert f"Import keras_prompt.{folder}, not {folder}." in found.stderr


def test_the_links_lead_to_the_folders():
    for folder in ("models", "tasks"):
        link = ROOT / "keras_prompt" / folder
        assert link.is_symlink()
        assert link.readlink() == Path("..") / folder


def test_every_public_name_is_there():
    for name in keras_prompt.__all__:
        assert getattr(keras_prompt, name) is not None
    assert "PromptTunedT5" in dir(keras_prompt)


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'PromptTuner'"):
        keras_prompt.PromptTuner  # noqa: B018


def test_the_layers_in_contributing_are_those_that_are_checked():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    drawn = re.search(r"```\n(cli\n.*?)```", text, re.DOTALL)
    rows = [re.split("  +", line)[0] for line in _lines(drawn[1])]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (contract,) = (
        contract
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )
    assert rows == [
        layer.replace("keras_prompt.", "") for layer in contract["layers"]
    ]


def test_no_file_of_code_is_longer_than_contributing_says():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (most,) = re.findall(r"(\d+) the end outside `tests/`", text)
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for folder in ("keras_prompt", "models", "tasks", *OUTSIDE)
        for path in (ROOT / folder).rglob("*.py")
    }
    assert lengths
    assert {p: n for p, n in lengths.items() if n > int(most)} == {}


def test_the_changelog_begins_with_this_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)
    assert versions[0] == keras_prompt.__version__


def test_the_installed_version_is_this_one():
    installed = importlib.metadata.version("keras-prompt")
    assert installed == keras_prompt.__version__


def test_the_tensorflow_datasets_that_is_imported_is_the_declared_one():
    # tfds-nightly, which seqio-nightly asks for, lies in the same folder.
    tfds = importlib.import_module("tensorflow_datasets")
    declared = importlib.metadata.version("tensorflow-datasets")
    assert tfds.__version__ == declared


@pytest.mark.parametrize(
    "arguments", [["--help"], ["tune", "--help"], ["tune"], ["tun"]]
)
def test_help_and_wrong_arguments_answer_within_a_second(arguments):
    command = [sys.executable, "-m", "keras_prompt.cli.main", *arguments]
    seconds = []
    for _ in range(3):  # the best of three: another process may be busy
        start = time.monotonic()
        found = subprocess.run(command, capture_output=True, text=True)
        seconds.append(time.monotonic() - start)
    assert min(seconds) < 1
    assert found.returncode == (0 if "--help" in arguments else 2)
    assert "Traceback" not in found.stderr


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from keras_prompt.cli.main import main\n"
        "try: main(['tune', '--help'])\n"
        "except SystemExit: pass\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.splitlines()[-1] == "[]"


def test_importing_the_package_loads_no_tensorflow():
    code = "import sys, keras_prompt; print('tensorflow' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "False"
