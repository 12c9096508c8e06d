"""Fitting a backbone into a model: which outputs, and which numbers of the config."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ..errors import BadInput
from .places import Path, at, candidates, edited, spell, walk
from .probe import (
    SIZES,
    CannotMeasure,
    Output,
    StandIn,
    Step,
    build,
    measure,
    reachable,
    train_step,
)

# Of a convolution's error in PyTorch: what it takes, what it got.
_CHANNELS = re.compile(r'to have (\d+) channels, but got (\d+) channels')


@dataclass
class Fit:
    """What a place's new backbone needs.

    Args:
        arguments: Its outputs and their form; None where it was not called and stays.
        edits: New values of entries elsewhere in the model.
        notes: What a user should know.
    """

    arguments: dict[str, Any] | None = None
    edits: dict[Path, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Model:
    """A config's model with stand-ins for its backbones, to be run at little cost.

    Args:
        cfg: The config.
        places: Of its backbones.

    Raises:
        BadInput: A step of training fails whatever the backbone.
    """

    def __init__(self, cfg: Mapping, places: Sequence[Path]):
        self.cfg, self.table, self.places = cfg, cfg['model'], places
        self.outputs: dict[Path, list[Output]] = {}
        self.stand_ins: dict[Path, dict] = {}
        self.names: list[str] = []  # of the backbones' parameters
        for place in places:
            try:
                self.outputs[place], form, net = measure(at(self.table, place))
            except CannotMeasure as error:
                raise BadInput(f'{spell(place)} cannot be replaced: {error}') from error
            self.stand_ins[place] = stand_in(place, self.outputs[place], form)
            prefix = '.'.join(map(str, place))
            self.names += [f'{prefix}.{name}' for name, _ in net.named_parameters()]
        errors = set()
        for self.size in SIZES:
            self.first = self.step({})
            if not self.first.error:
                return
            if self.first.error in errors:  # the size is not what fails
                break
            errors.add(self.first.error)
        raise BadInput(_why_never(self.first.error))

    def step(self, edits: Mapping[Path, Any]) -> Step:
        """A step of training with other values at some paths."""
        table = edited(self.table, {**self.stand_ins, **edits})
        return train_step(self.cfg, table, self.size)

    def used(self, place: Path) -> set[int] | None:
        """Outputs that the loss depends on; all of a teacher without gradients; None
        of a backbone that no step of training calls.
        """
        found = self.first.reached.get(spell(place))
        return set(self.indices(place)) if found == set() else found

    def indices(self, place: Path) -> range:
        return range(len(self.outputs[place]))

    def fit(self, place: Path, table: dict) -> Fit:
        """Fit a backbone, given without ``out_indices``, into a place.

        Raises:
            BadInput: It cannot be; says why.
        """
        used = self.used(place)
        if used is None:
            type_ = at(self.table, place)['type']
            return Fit(notes=[f'{spell(place)} ({type_}) takes no part in a step of '
                              'training, and stays as it is'])  # fmt: skip
        try:
            given, _, _ = measure(table)
        except CannotMeasure as error:
            raise BadInput(f'{table["type"]} cannot be built: {error}') from error
        outputs, every, some = self.outputs[place], self.indices(place), sorted(used)
        stages = assign(outputs, every, given)
        if stages and not _idle(table, stages, used):
            return self._fit_stages(place, stages, given)
        ways = [way for kept in (some, every) if (way := assign(outputs, kept, given))]
        refusals = []
        if not ways:
            refusals.append(_no_stage(place, outputs, some, given))
            ways = [assign_loosely(outputs, some, given)]
        for way in filter(None, ways):
            try:
                return self._fit_stages(place, way, given)
            except BadInput as refusal:
                refusals.append(str(refusal))
        raise BadInput(refusals[0])

    def _fit_stages(
        self, place: Path, stages: Mapping[int, int], given: Sequence[Output]
    ) -> Fit:
        """Fit a backbone whose stages take the place of some of the old outputs."""
        outputs = self.outputs[place]
        built = sorted({*stages.values()})
        index = {i: built.index(stage) for i, stage in stages.items()}
        vector = not all(outputs[i].stride for i in index)
        new = [
            Output(given[stage].channels, 0 if vector else given[stage].stride)
            for stage in built
        ]
        widths = self._unused_widths([output.channels for output in new])
        marked = [
            Output(width, output.stride)
            for width, output in zip(widths, new, strict=True)
        ]
        chosen, sums = self._search(place, index, marked)
        table = self._candidates(place, index, new, sums)
        self.stand_ins[place] = stand_in(place, new)
        edits = {path: table[path][k] for path, k in chosen.items() if path in table}
        arguments: dict[str, Any] = {'out_indices': tuple(built)}
        if vector:
            arguments['gap_before_final_norm'] = True
        notes = _notes(place, outputs, index, new)
        if built[-1] < len(given) - 1:
            notes.append(
                f'{spell(place)}: nothing takes a map coarser than stride '
                f'{new[-1].stride}, so that the stages behind it are not built'
            )
        self.table = edited(self.table, edits)
        return Fit(arguments, edits, notes)

    def _unused_widths(self, real: Sequence[int]) -> list[int]:
        """Widths in proportion to the real ones that no number of the model equals, so
        that none fits by chance.
        """
        taken = {value for _, value in walk(self.table) if type(value) is int}
        for first in range(96, 9600, 32):
            widths = [first * width // real[0] for width in real]
            if not taken & {*widths, sum(widths)}:
                break
        return widths

    def _candidates(
        self,
        place: Path,
        index: Mapping[int, int],
        new: Sequence[Output],
        sums: Mapping[int, int],
    ) -> dict[Path, list]:
        widths = [output.channels for output in self.outputs[place]]
        fitted = [output.channels for output in new]
        return candidates(self.table, self.places, widths, index, fitted, sums)

    def _search(
        self, place: Path, index: Mapping[int, int], new: Sequence[Output]
    ) -> tuple[dict[Path, int], dict[int, int]]:
        """The entries that must change for a step of training to run through, each with
        the number of its new value.

        One more changes as long as a step fails or leaves outputs unused: the likeliest
        that brings it further. What is not needed in the end goes back.
        """
        with_new = {place: stand_in(place, new)}
        sums: dict[int, int] = {}
        table = self._candidates(place, index, new, sums)
        chosen: dict[Path, int] = {}
        wanted = len({index[i] for i in self.used(place) or () if i in index})

        def score(step: Step) -> tuple[bool, int, int]:
            used = len(step.reached.get(spell(place), ()))
            return not step.error, 0 if step.error else used, step.calls

        def step_with(chosen: Mapping[Path, int]) -> Step:
            edits = {path: table[path][k] for path, k in chosen.items()}
            return self.step({**with_new, **edits})

        best = self.step(with_new)
        while score(best) < (True, wanted):
            for more in _moves(table, chosen):
                step = step_with({**chosen, **more})
                if score(step) > score(best):
                    best = step
                    chosen.update(more)
                    break
            else:
                known = len(sums)
                sums |= self._sums(place, index, new, best.error)
                if len(sums) == known:
                    raise BadInput(_why_not(place, best))
                table = self._candidates(place, index, new, sums)
        for path in [*chosen] if len(chosen) > 1 else []:
            fewer = {other: chosen[other] for other in chosen if other != path}
            if score(step_with(fewer)) >= (True, wanted):
                chosen = fewer
        return chosen, sums

    def _sums(
        self, place: Path, index: Mapping[int, int], new: Sequence[Output], error: str
    ) -> dict[int, int]:
        """The number that a layer's channels must not be, and the output in it."""
        said = _CHANNELS.search(error)
        if not said:
            return {}
        takes, gets = map(int, said.groups())
        for i, j in index.items():
            if gets == takes - self.outputs[place][i].channels + new[j].channels:
                return {takes: i}
        return {}


def stand_in(place: Path, outputs: Sequence[Output], form: str = 'tuple') -> dict:
    """The table of a stand-in."""
    return dict(
        type=f'mmmsmlp.{StandIn.__name__}', place=spell(place), form=form,
        outputs=[(output.channels, output.stride) for output in outputs],
    )  # fmt: skip


def assign(
    old: Sequence[Output], kept: Sequence[int], new: Sequence[Output]
) -> dict[int, int]:
    """The stage that takes each output's place: that of its stride.

    Dilated stages, ever wider at one stride, are the last stages in their order. Empty
    if there is none.
    """
    strides = [output.stride for output in new]
    before = [output.stride for output in old]
    wanted = [before[i] for i in kept]
    if wanted == [0]:  # a vector for each image
        return {kept[0]: len(new) - 1}
    widths = [output.channels for output in old]
    if len({*before}) == len(before):
        stages = [strides.index(stride) for stride in wanted if stride in strides]
        ascending = len(stages) == len(kept) and stages == sorted(stages)
        return dict(zip(kept, stages, strict=True)) if ascending else {}
    dilated = widths == sorted({*widths}) and max(wanted) <= max(strides)
    if dilated and len(old) <= len(new):
        return {i: len(new) - len(old) + i for i in kept}
    return {}


def assign_loosely(
    old: Sequence[Output], kept: Sequence[int], new: Sequence[Output]
) -> dict[int, int]:
    """The stages where :func:`assign` finds none: maps of one stride share one.

    Those of strides that no stage has take the last stages in their order.
    """
    strides = [output.stride for output in new]
    wanted = [old[i].stride for i in kept]
    if {*wanted} <= {*strides}:
        return {i: strides.index(old[i].stride) for i in kept}
    if 0 in wanted or len(kept) > len(new):
        return {}
    return {i: len(new) - len(kept) + n for n, i in enumerate(kept)}


def _idle(table: Mapping, stages: Mapping[int, int], used: set[int]) -> bool:
    """Would a backbone with these outputs have parameters that those used leave out?"""
    backbone = build({**table, 'out_indices': tuple(stages.values())})
    given = backbone(torch.rand(2, table.get('in_channels', 3), 64, 64))
    found = reachable(sum(given[i].sum() for i in used))
    return any(p.requires_grad and id(p) not in found for p in backbone.parameters())


def _moves(
    table: Mapping[Path, list], chosen: Mapping[Path, int]
) -> Iterator[dict[Path, int]]:
    """Single entries, then all of one table at once."""
    left = [path for path in table if path not in chosen]
    for path in left:
        yield from ({path: k} for k in range(len(table[path])))
    for parent in dict.fromkeys(path[:-1] for path in left):
        group = {path: 0 for path in left if path[:-1] == parent}
        if len(group) > 1:
            yield group


def _why_never(error: str) -> str:
    attribute = error.partition("'StandIn' object has no attribute ")[2]
    if attribute:
        return f'the model works with {attribute} of its own backbone'
    return f'the config trains no step here, whatever its backbone ({error})'


def _why_not(place: Path, step: Step) -> str:
    start = f'{spell(place)} cannot be replaced: '
    if not step.error:
        return f'{start}some of its outputs would never be used'
    where = step.error.partition(':')[0]
    takes = _CHANNELS.search(step.error)
    if takes:
        return (f'{start}{where} takes {takes[1]} channels of it, which no number of '
                'the config changes')  # fmt: skip
    return f'{start}whatever the numbers of the config, {step.error}'


def _no_stage(
    place: Path, old: Sequence[Output], kept: Sequence[int], new: Sequence[Output]
) -> str:
    return (
        f'{spell(place)} cannot be replaced: its consumers take maps at strides '
        f'{[old[i].stride for i in kept]} with {[old[i].channels for i in kept]} '
        f'channels, and the stages of the new one are at '
        f'{[output.stride for output in new]}, one map each'
    )


def _notes(
    place: Path, old: Sequence[Output], index: Mapping[int, int], new: Sequence[Output]
) -> list[str]:
    return [
        f'{spell(place)}: output {i} was at stride {old[i].stride} and is at stride '
        f'{new[j].stride}'
        for i, j in index.items()
        if old[i].stride != new[j].stride
    ]
