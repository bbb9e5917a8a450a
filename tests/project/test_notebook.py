"""The notebook for Colab runs from top to bottom, and is committed without outputs."""

import importlib
import os

import pytest

from tests.helpers.processes import ROOT

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("matplotlib")

pytestmark = pytest.mark.xdist_group("notebook")

NOTEBOOK = ROOT / "examples" / "jaxreg_colab.ipynb"
DEVICES = 2


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What each cell of code has shown, as text and as kinds of output."""
    # The first process that draws lists all fonts, and says so where that takes long.
    importlib.import_module("matplotlib.font_manager")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    changes = {
        "JAXREG_STEPS": "100",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={DEVICES}",
    }
    client = nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path_factory.mktemp("notebook"))}},
    )
    client.execute(env={**os.environ, **changes})
    shown = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    return [output for cell in shown for output in cell]


@pytest.mark.exhaustive
def test_it_runs_and_shows_tables_and_pictures(outputs):
    printed = "".join(out.text for out in outputs if out.get("name") == "stdout")
    assert f"{DEVICES} × cpu" in printed
    assert "L1, prox_adam" in printed
    assert f"{DEVICES} devices, 32 images on each" in printed
    assert len([out for out in outputs if "image/png" in out.get("data", {})]) == 3


@pytest.mark.exhaustive
def test_it_warns_of_nothing_and_installs_nothing_where_jaxreg_is(outputs):
    assert not [out.text for out in outputs if out.get("name") == "stderr"]
    assert outputs[0].text == f"jaxreg: installed in {ROOT}/jaxreg/__init__.py\n"


def test_it_is_committed_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
