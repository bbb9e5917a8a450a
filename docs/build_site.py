"""Build the site into build/site: `pip install -e ".[docs]" && python docs/build_site.py`.

Its pages are the README, the files of this folder, the examples, and the API. The API is
made from the package: a page for each part (`jaxreg.penalties`, `jaxreg.masks`, ...), on
it an entry for each public name, under the file it comes from. What `jaxreg/__init__.py`
exports is there by itself, and its name is a link wherever a text has it in backticks.
Parts, files and names are in the order in which docs/catalogue.md mentions them.
"""

import importlib
import inspect
import os
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterable
from inspect import ismodule
from types import ModuleType
from typing import Any

import jaxreg

ROOT = pathlib.Path(__file__).parent.parent
BUILD = ROOT / "build"
FIGURES = "examples/figures"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CATALOGUE = (ROOT / "docs" / "catalogue.md").read_text()
WIDTH = 88
SECTIONS = "Args", "Attributes", "Returns", "Raises", "Example", "References"


def public(owner: Any) -> dict[str, Any]:
    """What a package exports, or the methods that a class itself documents, by name."""
    names = dir(owner) if isinstance(owner, ModuleType) else vars(owner)
    return {
        name: value
        for name in names
        if not name.startswith("_")
        and (
            isinstance(value := getattr(owner, name), property)
            or getattr(value, "__module__", "").startswith("jaxreg.")
        )
        and (isinstance(owner, ModuleType) or value.__doc__)
    }


def rank(names: Iterable[str]) -> int:
    """Where the catalogue first mentions one of the names; at its end, if nowhere."""
    found = [re.search(rf"`{re.escape(name)}\b", CATALOGUE) for name in names]
    return min([mention.start() for mention in found if mention] + [len(CATALOGUE)])


def topics() -> dict[str, dict[str, list[str]]]:
    """For each part of the package: for each of its files, the public names."""
    found: dict[str, dict[str, list[str]]] = {}
    top = public(jaxreg)
    packages = [value for name in dir(jaxreg) if ismodule(value := getattr(jaxreg, name))]
    for package in (jaxreg, *packages):
        prefix = package.__name__.removeprefix("jaxreg").removeprefix(".")
        for name, value in public(package).items():
            if prefix and top.get(name) is value:
                continue
            part = value.__module__.split(".")[1]
            names = found.setdefault(part, {}).setdefault(value.__module__, [])
            names.append(f"{prefix}.{name}" if prefix else name)
    ordered = {
        part: {
            file: sorted(files[file], key=lambda name: (rank([name]), name))
            for file in sorted(files, key=lambda file: (rank(files[file]), file))
        }
        for part, files in found.items()
    }
    return dict(sorted(ordered.items(), key=lambda item: rank(sum(item[1].values(), []))))


TOPICS = topics()
PAGE_OF = {
    name: f"api/{part}.md"
    for part, files in TOPICS.items()
    for names in files.values()
    for name in names
}


def find(name: str) -> Any:
    """What a dotted name stands for."""
    value: Any = jaxreg
    for part in name.split("."):
        value = getattr(value, part)
    return value


def doc_of(value: Any) -> str:
    return inspect.getdoc(value) or ""


def api_page(part: str) -> str:
    """The Markdown of the page of one part: an overview, then the entries."""
    overview, entries = list[str](), list[str]()
    for file, names in TOPICS[part].items():
        title = doc_of(importlib.import_module(file)).splitlines()[0].rstrip(".")
        if len(TOPICS[part]) > 1:
            overview.append(f"**{title}**")
            entries.append(f"## {title}")
        lines = [f"- `{name}`: {doc_of(find(name)).splitlines()[0]}" for name in names]
        overview.append("\n".join(lines))
        entries += [entry(name, find(name), "###") for name in names]
    text = doc_of(importlib.import_module(f"jaxreg.{part}"))
    return "\n\n".join([f"# {part.capitalize()}", text, *overview, *entries])


def entry(name: str, value: Any, level: str) -> str:
    """Heading, signature and docstring of one name, and of its methods."""
    blocks = [f"{level} {name} {{ #{name} }}"]
    if inspect.isroutine(value) or inspect.isclass(value):
        blocks.append(f"```python\n{signature(name, value)}\n```")
    blocks.append(sections(doc_of(value)))
    if inspect.isclass(value):
        blocks += [
            entry(f"{name}.{method}", getattr(value, method), f"{level}#")
            for method in public(value)
        ]
    return "\n\n".join(blocks)


def signature(name: str, function: Any) -> str:
    """Name, arguments and defaults, on several lines if need be, without annotations."""
    found = inspect.signature(function).parameters.values()
    bare = [p.replace(annotation=p.empty) for p in found if p.name != "self"]
    line = f"{name}{inspect.Signature(bare)}"
    if len(line) <= WIDTH:
        return line
    arguments = [str(p) for p in bare]
    kinds = [p.kind for p in bare]
    if (
        inspect.Parameter.KEYWORD_ONLY in kinds
        and inspect.Parameter.VAR_POSITIONAL not in kinds
    ):
        arguments.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    if inspect.Parameter.POSITIONAL_ONLY in kinds:
        arguments.insert(kinds.count(inspect.Parameter.POSITIONAL_ONLY), "/")
    return "\n".join([f"{name}(", *(f"    {argument}," for argument in arguments), ")"])


def sections(doc: str) -> str:
    """A docstring as Markdown: arguments in a list, examples as code."""
    text, *parts = re.split(rf"^({'|'.join(SECTIONS)}):\n", doc, flags=re.MULTILINE)
    blocks = [text]
    for title, body in zip(parts[::2], parts[1::2], strict=True):
        body = textwrap.dedent(body)
        if title in ("Args", "Attributes", "Raises"):
            body = re.sub(r"^(\S+?): ", r"- `\1`: ", body, flags=re.MULTILINE)
        if title == "Example":
            session = re.compile(r"^>>> .*?(?=\n\n|\Z)", re.DOTALL | re.MULTILINE)
            body = session.sub(lambda code: f"```pycon\n{code[0].rstrip()}\n```", body)
        blocks.append(f"**{title}**\n\n{body}")
    return "\n\n".join(blocks)


def example_page(script: pathlib.Path) -> str:
    """A script of the examples: what it says of itself, and its code."""
    code = script.read_text()
    text, code = code.removeprefix('"""').split('"""\n', maxsplit=1)
    figures = "\n\n".join(
        f"![{figure.stem}]({FIGURES}/{figure.name})"
        for figure in sorted((ROOT / FIGURES).glob("*.png"))
        if f'"{figure.stem}' in code or figure.name in code
    )
    title = script.stem.replace("recipe_", "recipe: ").replace("_", " ").capitalize()
    run = f"```sh\npython examples/{script.name}\n```"
    return "\n\n".join(
        [f"# {title}", text, run, figures, f"```python\n{code.strip()}\n```"]
    )


def linked(markdown: str, page: str) -> str:
    """The text of a page, with every public name a link to its entry."""
    folder, part = pathlib.Path(page).parent, pathlib.Path(page).stem

    def link(found: re.Match[str]) -> str:
        name = re.sub(r"^(jr|jaxreg)\.", "", found[1])
        name = f"{part}.{name}" if f"{part}.{name}" in PAGE_OF else name
        if name not in PAGE_OF:
            return found[0]
        return f"[{found[0]}]({os.path.relpath(PAGE_OF[name], folder)}#{name})"

    def fix(text: str) -> str:
        text = re.sub(
            rf"(\.\./)?{FIGURES}/", f"{os.path.relpath('figures', folder)}/", text
        )
        text = re.sub(r"\]\((\.\./)?examples/(\w+)\.py\)", r"](examples/\2.md)", text)
        text = text.replace("](../examples/", "](examples/")
        return re.sub(r"(?<![\[`])`([\w.]+)(\([^`]*\))?`(?!`)", link, text)

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.DOTALL | re.MULTILINE)
    parts[::2] = map(fix, parts[::2])
    return "".join(parts)


def pages() -> dict[str, str]:
    """All pages, by where they are on the site."""
    return {
        "index.md": (ROOT / "README.md").read_text().replace("](docs/", "]("),
        **{path.name: path.read_text() for path in (ROOT / "docs").glob("*.md")},
        **{
            f"examples/{script.stem}.md": example_page(script)
            for script in sorted((ROOT / "examples").glob("*.py"))
        },
        **{f"api/{part}.md": api_page(part) for part in TOPICS},
    }


def header() -> str:
    """The settings that are facts about the project: its version, and its address."""
    settings = f"site_name: {PROJECT['name']} {PROJECT['version']}\n"
    repository = PROJECT.get("urls", {}).get("Repository")
    return settings + (f"repo_url: {repository}\n" if repository else "")


def main() -> None:
    """Gather the pages and build the site; a link that leads nowhere is an error."""
    shutil.rmtree(BUILD / "docs", ignore_errors=True)
    shutil.copytree(ROOT / FIGURES, BUILD / "docs" / "figures")
    shutil.copy(ROOT / "docs" / "site.css", BUILD / "docs")
    (BUILD / "docs" / "examples").mkdir()
    for notebook in (ROOT / "examples").glob("*.ipynb"):
        shutil.copy(notebook, BUILD / "docs" / "examples")
    settings = header() + (ROOT / "docs" / "site.yml").read_text()
    nav = {"Examples": list[str](), "API": list[str]()}
    for path, text in pages().items():
        target = BUILD / "docs" / path
        target.parent.mkdir(exist_ok=True)
        target.write_text(linked(text, path))
        for picture in re.findall(r"!\[[^\]]*\]\((.+?)\)", target.read_text()):
            if not (target.parent / picture).exists():
                raise FileNotFoundError(
                    f"{path} shows a picture that is not there: {picture}"
                )
        if "/" in path:
            nav["API" if path.startswith("api/") else "Examples"].append(path)
        elif f"- {path}\n" not in settings and path != "index.md":
            raise ValueError(f"nav in docs/site.yml must say where {path} stands.")
    for title, paths in nav.items():
        settings += f"  - {title}:\n" + "".join(f"      - {path}\n" for path in paths)
    (BUILD / "site.yml").write_text(settings)
    command = [
        sys.executable,
        "-m",
        "zensical",
        "build",
        "--strict",
        "--clean",
        "-f",
        "site.yml",
    ]
    sys.exit(subprocess.run(command, cwd=BUILD, check=False).returncode)


if __name__ == "__main__":
    main()
