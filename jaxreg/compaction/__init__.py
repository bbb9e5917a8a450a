"""From zeros to a smaller model that computes the same function.

| | |
|---|---|
| `compact` | the smaller function, its parameters, and what stays |
"""

from jaxreg.compaction.compact import compact as compact
from jaxreg.compaction.result import Compaction as Compaction, Row as Row
