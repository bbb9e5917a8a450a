"""Tables for people."""

from collections.abc import Sequence

Cells = Sequence[str]


def table(
    head: Cells, rows: Sequence[Cells], foot: Cells | None = None, numbers: Cells = ()
) -> str:
    """Columns as wide as they need be, under a ruled head and over a ruled foot.

    Args:
        head: The name of each column.
        rows: A text for each column.
        foot: Likewise, such as totals.
        numbers: Names of the columns that are set to the right.

    Returns:
        The lines, without spaces at their ends.
    """
    ends = [] if foot is None else [foot]
    widths = [max(map(len, column)) for column in zip(head, *rows, *ends, strict=True)]
    rule = ["-" * width for width in widths]
    lines = [head, rule, *rows, *([rule, *ends] if ends else [])]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if name in numbers else cell.ljust(width)
            for name, cell, width in zip(head, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )
