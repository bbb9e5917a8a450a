"""The README as package indexes show it: they know no files beside it."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class LongDescription(MetadataHookInterface):
    """Sets `readme`, with links that work outside the repository."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Read README.md, with its links relative to `urls.Repository`, if there is one."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        repository = metadata.get("urls", {}).get("Repository")
        text = long_description(text, repository, f"v{metadata['version']}")
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def long_description(readme: str, repository: str | None, tag: str) -> str:
    """The README with absolute links; without an address, with no links to files."""
    relative = r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)]+)\)"

    def absolute(link: re.Match[str]) -> str:
        picture, text, path = link.groups()
        if repository is None:
            return "" if picture else text
        kind = "raw" if picture else "blob"
        return f"{picture}[{text}]({repository}/{kind}/{tag}/{path})"

    return re.sub(relative, absolute, readme)
