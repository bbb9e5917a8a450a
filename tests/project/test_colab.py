"""The first cell of the notebook, on machines that have pip and a JAX, and no network.

The machines are copies of one virtual environment. Its packages are made here: they have a
name, a version and requirements, and a module that holds nothing.
"""

import json
import os
import shutil
import subprocess
import venv
import zipfile

import packaging
import pytest

from tests.helpers.processes import ROOT

pytestmark = pytest.mark.xdist_group("colab")

CELL = next(
    "".join(cell["source"])
    for cell in json.loads((ROOT / "examples" / "jaxreg_colab.ipynb").read_text())["cells"]
    if cell["cell_type"] == "code"
)
SEEN = """
import importlib.metadata, jaxreg
print("imported:", jaxreg.__file__)
for name in {names}:
    print(name, importlib.metadata.version(name))
"""
THERE = {  # older than jaxreg and the newest Optax and Flax want it
    "jax": "0.7.2",
    "jaxlib": "0.7.2",
    "jax_cuda12_plugin": "0.7.2",
    "libtpu": "0.0.20",
    "numpy": "2.0.2",
}
INDEX = [
    ("jax", "0.7.2", ["jaxlib==0.7.2"]),
    ("jax", "0.12.0", ["jaxlib==0.12.0"]),
    ("jaxlib", "0.12.0", []),
    ("numpy", "2.4.0", []),
    ("optax", "0.2.6", ["jax>=0.5"]),
    ("optax", "0.2.9", ["jax>=0.11"]),
    ("flax", "0.12.1", ["jax>=0.7", "optax"]),
    ("flax", "0.13.0", ["jax>=0.11", "optax"]),
    ("matplotlib", "3.10.0", ["numpy"]),
    ("scikit_learn", "1.8.0", ["numpy"]),
]
JAXREG = ("jaxreg", "0.1.0", ["jax>=0.8", "optax>=0.2.6", "numpy>=2", 'x>=1; extra == "y"'])


def files(name, version, requirements):
    """What a package puts into site-packages."""
    module = {"scikit_learn": "sklearn"}.get(name, name)
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    about += "".join(f"Requires-Dist: {need}\n" for need in requirements)
    tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    folder = f"{name}-{version}.dist-info"
    texts = {
        f"{module}/__init__.py": "",
        f"{folder}/METADATA": about,
        f"{folder}/WHEEL": tags,
    }
    record = "".join(f"{path},,\n" for path in (*texts, f"{folder}/RECORD"))
    return {**texts, f"{folder}/RECORD": record}


def make_wheel(folder, name, version, requirements):
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files(name, version, requirements).items():
            archive.writestr(file, text)
    return path


def install(site, name, version, requirements=()):
    for file, text in files(name, version, requirements).items():
        (site / file).parent.mkdir(exist_ok=True)
        (site / file).write_text(text)


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A virtual environment that has pip, `packaging` and an older JAX."""
    folder = tmp_path_factory.mktemp("machine") / "venv"
    venv.create(folder, with_pip=True, symlinks=True)
    for name, version in THERE.items():
        install(site_of(folder), name, version)
    shutil.copytree(packaging.__path__[0], site_of(folder) / "packaging")
    return folder


def site_of(folder):
    (site,) = folder.glob("lib/python*/site-packages")
    return site


class Runtime:
    """One machine: a folder to work in, an environment, and what can be installed."""

    def __init__(self, machine, tmp_path):
        self.folder, self.index = tmp_path / "content", tmp_path / "index"
        self.folder.mkdir()
        self.index.mkdir()
        for package in INDEX:
            make_wheel(self.index, *package)
        shutil.copytree(machine, tmp_path / "venv", symlinks=True)
        self.site = site_of(tmp_path / "venv")
        self.python = tmp_path / "venv" / "bin" / "python"

    def run_cell(self):
        """The process that has run the cell and then imported jaxreg."""
        names = [*THERE, "optax", "flax", "matplotlib", "scikit_learn"]
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return subprocess.run(
            [self.python, "-c", CELL + SEEN.format(names=names)],
            cwd=self.folder,
            env={**kept, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index)},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def runtime(machine, tmp_path):
    return Runtime(machine, tmp_path)


def shown(process):
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()


def check_versions(lines):
    """JAX is the one that was there; the rest are the newest that go with it."""
    wanted = {**THERE, "optax": "0.2.6", "flax": "0.12.1"}
    assert set(lines) >= {f"{name} {version}" for name, version in wanted.items()}


@pytest.mark.exhaustive
def test_an_uploaded_wheel_is_installed_and_jax_is_left_alone(runtime):
    wheel = make_wheel(runtime.folder, *JAXREG)
    lines = shown(runtime.run_cell())
    assert lines[:2] == [
        f"jaxreg: the wheel {wheel}",
        "installed: optax flax matplotlib scikit-learn",
    ]
    assert "jax 0.7.2 is older than what jaxreg is tested with: jax>=0.8" in lines
    assert f"imported: {runtime.site}/jaxreg/__init__.py" in lines
    check_versions(lines)


@pytest.mark.exhaustive
def test_a_checkout_comes_before_a_wheel(runtime):
    make_wheel(runtime.folder, *JAXREG)
    checkout = runtime.folder / "jaxreg"  # a folder that Python could take for a package
    (checkout / "jaxreg").mkdir(parents=True)
    (checkout / "jaxreg" / "__init__.py").write_text("")
    shutil.copy(ROOT / "pyproject.toml", checkout)
    lines = shown(runtime.run_cell())
    assert lines[0] == f"jaxreg: the checkout {checkout}"
    assert f"imported: {checkout}/jaxreg/__init__.py" in lines
    assert any(line.startswith("jax 0.7.2 is older") for line in lines)
    check_versions(lines)


@pytest.mark.exhaustive
def test_without_either_it_comes_from_the_index(runtime):
    make_wheel(runtime.index, *JAXREG)
    lines = shown(runtime.run_cell())
    assert lines[0] == "jaxreg: PyPI"
    check_versions(lines)


def test_it_says_what_to_do_where_there_is_none(runtime):
    done = runtime.run_cell()
    assert done.returncode != 0
    assert "No matching distribution found for jaxreg" in done.stderr
    assert "pip wheel --no-deps ." in done.stderr


def test_nothing_is_installed_where_all_is_there(runtime):
    installed = {
        "optax": "0.2.6",
        "flax": "0.12.1",
        "matplotlib": "3.9",
        "scikit_learn": "1.6",
    }
    for name, version in {"jaxreg": "0.1.0", **installed}.items():
        install(runtime.site, name, version)
    shutil.rmtree(runtime.site / "pip")
    lines = shown(runtime.run_cell())
    assert lines[0] == f"jaxreg: installed in {runtime.site}/jaxreg/__init__.py"
    assert lines[1].startswith("imported:")
