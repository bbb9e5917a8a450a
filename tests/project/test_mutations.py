"""The faults of `mutations.py` can still be put in; the script itself says who dies."""

import shutil

import pytest

from tests.mutations import FAULTS, ROOT


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return shutil.copytree(ROOT / "jaxreg", tmp_path_factory.mktemp("copy") / "jaxreg")


def test_every_fault_has_its_place(package):
    for fault in FAULTS:
        file = package / f"{fault.path}.py"
        source = file.read_text()
        fault.place_in(package)
        compile(file.read_text(), fault.name, "exec")
        file.write_text(source)
        assert all((ROOT / name).exists() for name in fault.command() if ".py" in name)
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 40
