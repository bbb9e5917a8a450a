"""What the project says of itself: to package indexes, in citations, to GitHub."""

import importlib.util
import re
import sys
import tomllib
import types

import pytest

from tests.helpers.processes import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
README = (ROOT / "README.md").read_text()
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture
def long_description(monkeypatch):
    """The function of hatch_build.py, which only the build of a package imports."""
    name = "hatchling.metadata.plugin.interface"
    stub = types.SimpleNamespace(MetadataHookInterface=object)
    monkeypatch.setitem(sys.modules, name, stub)
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.long_description


def links(text):
    return re.findall(r"\]\(([^)]+)\)", text)


TEXT = "A ![picture](a/b.png), a [page](docs/x.md#y), [another](https://z.org/)"


def test_without_an_address_an_index_gets_no_links_to_files(long_description):
    text = long_description(TEXT, None, "v1")
    assert text == "A , a page, [another](https://z.org/)"
    for link in links(long_description(README, None, "v1")):
        assert link.startswith("https://")


def test_with_an_address_an_index_shows_pictures_of_the_same_version(long_description):
    assert links(long_description(TEXT, "https://r.org/p", "v1")) == [
        "https://r.org/p/raw/v1/a/b.png",
        "https://r.org/p/blob/v1/docs/x.md#y",
        "https://z.org/",
    ]
    changed = links(long_description(README, "https://r.org/p", "v1"))
    assert len(changed) == len(links(README)) > 5
    for link, file in zip(changed, links(README), strict=True):
        assert link.endswith(file)


def test_links_lead_to_files_of_the_repository():
    for link in links(README):
        if not link.startswith("https://"):
            assert (ROOT / link).exists(), link


def test_nothing_names_an_address_that_the_project_does_not_have():
    pages = [ROOT / "README.md", ROOT / "CITATION.cff", *ROOT.glob("docs/*.*")]
    for page in [*pages, *ROOT.glob("examples/*.ipynb"), *WORKFLOWS]:
        text = page.read_text()
        for host in ("github.com", "colab.research.google.com/github", "pypi.org/project"):
            assert host not in text or "Repository" in PROJECT.get("urls", {}), page
        assert not re.search(r"pip install (-q )?\"?jaxreg", text), page


def test_the_citation_is_of_this_version():
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [PROJECT["version"]]
    assert re.findall(r"^license: (.+)$", citation, re.MULTILINE) == [PROJECT["license"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_the_project_s_own_scripts(workflow):
    commands = re.findall(r"^ *- run: (.+)$", workflow.read_text(), re.MULTILINE)
    assert len(commands) == workflow.read_text().count("run:")
    assert commands
    for command in commands:
        script = command.split(" && ")[-1].removeprefix("python ").split()[0]
        assert (ROOT / script).is_file(), script
