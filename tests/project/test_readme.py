"""The README's example runs and prints what it says; its commands are two."""

import os
import re
import subprocess
import sys

from tests.helpers.processes import ROOT, UNREADABLE

README = (ROOT / "README.md").read_text()
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def test_the_example_prints_what_the_readme_shows():
    (code,), (shown,) = blocks("python"), blocks("text")
    run = subprocess.run(
        [sys.executable, "-W", "error", "-W", UNREADABLE, "-c", code],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    *table, objective, zeros = run.stdout.splitlines()
    *shown_table, shown_objective, shown_zeros = shown.splitlines()
    assert table == shown_table
    assert objective == shown_objective
    percent = [int(re.findall(r"\d+", line)[0]) for line in (zeros, shown_zeros)]
    assert abs(percent[0] - percent[1]) <= 2


def test_there_are_two_commands():
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert [command.split(" && ")[1] for command in commands] == [
        "python examples/digits.py",
        "pytest",
    ]
    assert all(command.startswith("pip install -e ") for command in commands)


def test_it_is_short():
    assert len(README.splitlines()) <= 125


def test_pictures_exist():
    shown = {
        page.parent / picture
        for page in [ROOT / "README.md", *ROOT.glob("docs/*.md")]
        for picture in re.findall(r"!\[[^\]]+\]\((.+?\.png)\)", page.read_text())
    }
    assert len(shown) >= 3
    assert any(picture.parent.parent == ROOT / "examples" for picture in shown)
    for picture in shown:
        assert picture.stat().st_size > 5000


def test_importing_jaxreg_imports_nothing_heavy_but_modules_on_demand():
    code = (
        "import jaxreg, sys; heavy = {'flax', 'matplotlib', 'chex', 'sklearn', 'equinox'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        "assert jaxreg.convert.from_sklearn and jaxreg.transforms.prox_sgd;"
        "assert jaxreg.plot.histogram"
    )
    subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=True)


def test_star_imports_need_no_extras():
    code = (
        "import sys; sys.modules['matplotlib'] = sys.modules['sklearn'] = None\n"
        "from jaxreg import *; assert L1 and prox_adam"
    )
    subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=True)
