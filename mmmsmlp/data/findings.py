"""What was found in a data set: by kind, counted, with the first examples.

A kind (:mod:`kinds`) has one of three outcomes. An *error* would spoil the training or
the metric, or end it later. A *repair* is safe, is done in memory, and is said. A
*warning* changes nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field

from .kinds import KINDS

KEPT = 5  # examples of a kind


@dataclass
class Group:
    """Every finding of one kind in one file or folder."""

    kind: str
    outcome: str
    file: str
    consequence: str
    cure: str
    count: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)  # entry, value

    def line(self) -> str:
        """What, how often, the first, what would happen and the cure, in one line."""
        entry, value = self.examples[0] if self.examples else ('', '')
        first = ': '.join(part for part in (entry, value) if part)
        if self.count > 1:
            first = f'{self.count}, first: {first}' if first else str(self.count)
        text = f'{self.file}: {KINDS[self.kind].what}' + (
            f' ({first})' if first else ''
        )
        return f'{text}. {self.consequence}. {self.cure}.'


class Findings:
    """Collects findings, and counts what it does not keep."""

    def __init__(self) -> None:
        self.groups: dict[tuple[str, str], Group] = {}

    def add(
        self,
        kind: str,
        file: str,
        entry: str = '',
        value: object = '',
        outcome: str = '',
        cure: str = '',
    ) -> None:
        """Note one finding; ``outcome`` and ``cure`` stand in for the kind's own."""
        self.add_many(kind, file, 1, [(entry, value)], outcome, cure)

    def add_many(
        self,
        kind: str,
        file: str,
        count: int,
        examples: Iterable[tuple[str, object]],
        outcome: str = '',
        cure: str = '',
    ) -> None:
        """Note ``count`` findings of one kind, of which a few are shown."""
        if not count:
            return
        known = KINDS[kind]
        group = self.groups.setdefault(
            (kind, file),
            Group(
                kind,
                outcome or known.outcome,
                file,
                known.consequence,
                cure or known.cure,
            ),
        )
        group.count += count
        for entry, value in examples:
            if len(group.examples) == KEPT:
                break
            group.examples.append((entry, _short(value)))

    def extend(self, others: Iterable[Group]) -> None:
        """Take over groups that were found before."""
        for group in others:
            self.groups.setdefault((group.kind, group.file), group)

    def __iter__(self) -> Iterator[Group]:
        return iter(self.groups.values())

    def __len__(self) -> int:
        return len(self.groups)

    def of(self, outcome: str) -> list[Group]:
        """The groups of an outcome, in the order in which they were found."""
        return [group for group in self if group.outcome == outcome]

    def kinds(self, outcome: str = '') -> set[str]:
        """Which kinds were found, of one outcome or of all."""
        return {g.kind for g in self if outcome in ('', g.outcome)}

    def lines(self, outcome: str) -> list[str]:
        """One line a kind and file."""
        return [group.line() for group in self.of(outcome)]

    def as_lists(self) -> list[dict]:
        """As JSON has it; :meth:`from_lists` reads it."""
        return [asdict(group) for group in self]

    @classmethod
    def from_lists(cls, lists: Iterable[dict]) -> 'Findings':
        """Read what :meth:`as_lists` gave."""
        found = cls()
        for entry in lists:
            group = Group(**entry)
            group.examples = [(one, other) for one, other in group.examples]
            found.groups[group.kind, group.file] = group
        return found


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 160 else f'{text[:157]}...'
