"""The page on solving runs, from top to bottom."""

import pathlib
import re

import jax

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "solving.md"


def test_the_page_runs():
    page, flags = PAGE.read_text(), re.DOTALL | re.MULTILINE
    blocks = re.findall(r"^```python\n(.*?)^```$", page, flags)
    assert len(blocks) >= 6
    try:
        exec("\n".join(blocks), {})
    finally:
        jax.config.update("jax_enable_x64", False)
