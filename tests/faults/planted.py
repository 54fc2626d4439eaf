"""The registry of planted faults: each plants one and says by which alarm, gate or finding it must be named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: What is found: the alarm, gate or finding, and the sentence that names it.
Found = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Fault:
    """A planted fault.

    Attributes:
        group: The kind of fault, for the table.
        name: What is wrong, as a clause.
        by: The alarm, gate or finding that must name it.
        words: What the sentence must say.
        find: Plants it, and returns all that is found.
    """

    group: str
    name: str
    by: str
    words: tuple[str, ...]
    find: Callable[[], Found]

    def name_it(self) -> str | None:
        """Return the sentence that names the fault; None where there is none."""
        for by, text in self.find():
            if by == self.by and all(word in text for word in self.words):
                return text
        return None


#: All faults, in the order of the table.
FAULTS: list[Fault] = []


def plant(group: str, name: str, by: str, *words: str) -> Callable[[Callable[[], Found]], Callable[[], Found]]:
    """Register a function that plants a fault and returns what is found.

    Args:
        group: The kind of fault.
        name: What is wrong, as a clause.
        by: The alarm, gate or finding that must name it.
        words: What the sentence must say.
    """

    def register(find: Callable[[], Found]) -> Callable[[], Found]:
        FAULTS.append(Fault(group, name, by, words, find))
        return find

    return register
