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
        return found and found or (None if found is None else set(self.indices(place)))

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
        every = [*self.indices(place)]
        stages = assign(self.outputs[place], every, given)
        if stages and not _idle(table, stages, used):
            return self._fit_kept(place, every, stages, given)
        kept = sorted(used)
        stages = assign(self.outputs[place], kept, given)
        if not stages:
            why = _no_stage(self.outputs[place], kept, given)
            raise BadInput(f'{spell(place)} cannot be replaced: {why}')
        try:
            return self._fit_kept(place, kept, stages, given)
        except BadInput:
            stages = assign(self.outputs[place], every, given)
            if not stages:
                raise
            return self._fit_kept(place, every, stages, given)

    def _fit_kept(
        self, place: Path, kept: list[int], stages: list[int], given: list[Output]
    ) -> Fit:
        outputs = self.outputs[place]
        new = [
            Output(given[stage].channels, outputs[i].stride and given[stage].stride)
            for i, stage in zip(kept, stages, strict=True)
        ]
        marked = [
            Output(width, output.stride)
            for width, output in zip(
                self._unused_widths([output.channels for output in new]),
                new,
                strict=True,
            )
        ]
        chosen, sums = self._search(place, kept, marked)
        table = self._candidates(place, kept, new, sums)
        self.stand_ins[place] = stand_in(place, new)
        arguments: dict[str, Any] = {'out_indices': tuple(stages)}
        if not any(output.stride for output in new):
            arguments['gap_before_final_norm'] = True
        fit = Fit(arguments, {path: table[path] for path in chosen if path in table})
        for i, output in zip(kept, new, strict=True):
            if output.stride != outputs[i].stride:
                fit.notes.append(
                    f'{spell(place)}: output {i} was at stride {outputs[i].stride} '
                    f'and is at stride {output.stride}'
                )
        self.table = edited(self.table, fit.edits)
        return fit

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
        kept: Sequence[int],
        new: Sequence[Output],
        sums: Mapping[int, int],
    ) -> dict[Path, Any]:
        widths = [output.channels for output in self.outputs[place]]
        fitted = [output.channels for output in new]
        return candidates(self.table, self.places, widths, kept, fitted, sums)

    def _search(
        self, place: Path, kept: Sequence[int], new: Sequence[Output]
    ) -> tuple[list[Path], dict[int, int]]:
        """The entries that must change for a step of training to run through.

        One more changes as long as a step fails or leaves outputs unused: the likeliest
        that brings it further. What is not needed in the end goes back.
        """
        with_new = {place: stand_in(place, new)}
        sums: dict[int, int] = {}
        table = self._candidates(place, kept, new, sums)
        chosen: dict[Path, Any] = {}
        wanted = len((self.used(place) or set()) & {*kept})

        def score(step: Step) -> tuple[bool, int, int]:
            used = len(step.reached.get(spell(place), ()))
            return not step.error, 0 if step.error else used, step.calls

        best = self.step(with_new)
        while score(best) < (True, wanted):
            for more in _moves(table, chosen):
                step = self.step({**with_new, **chosen, **more})
                if score(step) > score(best):
                    best = step
                    chosen.update(more)
                    break
            else:
                known = len(sums)
                sums |= self._sums(place, kept, new, best.error)
                if len(sums) == known:
                    raise BadInput(_why_not(place, best))
                table = self._candidates(place, kept, new, sums)
        for path in [*chosen] if len(chosen) > 1 else []:
            fewer = {other: chosen[other] for other in chosen if other != path}
            if score(self.step({**with_new, **fewer})) >= (True, wanted):
                chosen = fewer
        return [*chosen], sums

    def _sums(
        self, place: Path, kept: Sequence[int], new: Sequence[Output], error: str
    ) -> dict[int, int]:
        """The number that a layer's channels must not be, and the output in it."""
        said = _CHANNELS.search(error)
        if not said:
            return {}
        takes, gets = map(int, said.groups())
        for i, output in zip(kept, new, strict=True):
            if gets == takes - self.outputs[place][i].channels + output.channels:
                return {takes: i}
        return {}


# Of a convolution's error in PyTorch: what it takes, what it got.
_CHANNELS = re.compile(r'to have (\d+) channels, but got (\d+) channels')


def stand_in(place: Path, outputs: Sequence[Output], form: str = 'tuple') -> dict:
    """The table of a stand-in."""
    return dict(
        type=f'mmmsmlp.{StandIn.__name__}', place=spell(place), form=form,
        outputs=[(output.channels, output.stride) for output in outputs],
    )  # fmt: skip


def assign(
    old: Sequence[Output], kept: Sequence[int], new: Sequence[Output]
) -> list[int]:
    """The stage that takes each output's place: that of its stride.

    Dilated stages, ever wider at one stride, are the last stages in their order. Empty
    if there is none.
    """
    strides = [output.stride for output in new]
    before = [output.stride for output in old]
    wanted = [before[i] for i in kept]
    if wanted == [0]:  # a vector for each image
        return [len(new) - 1]
    widths = [output.channels for output in old]
    if len({*before}) == len(before):
        stages = [strides.index(stride) for stride in wanted if stride in strides]
        return stages if len(stages) == len(kept) and stages == sorted(stages) else []
    dilated = widths == sorted({*widths}) and max(wanted) <= max(strides)
    if dilated and len(old) <= len(new):
        return [len(new) - len(old) + i for i in kept]
    return []


def _idle(table: Mapping, stages: Sequence[int], used: set[int]) -> bool:
    """Would a backbone with these outputs have parameters that those used leave out?"""
    backbone = build({**table, 'out_indices': tuple(stages)})
    given = backbone(torch.rand(2, table.get('in_channels', 3), 64, 64))
    found = reachable(sum(given[i].sum() for i in used))
    return any(p.requires_grad and id(p) not in found for p in backbone.parameters())


def _moves(
    table: Mapping[Path, Any], chosen: Mapping[Path, Any]
) -> Iterator[dict[Path, Any]]:
    """Single entries, then all of one table at once."""
    left = {path: value for path, value in table.items() if path not in chosen}
    for path, value in left.items():
        yield {path: value}
    for parent in dict.fromkeys(path[:-1] for path in left):
        group = {p: value for p, value in left.items() if p[:-1] == parent}
        if len(group) > 1:
            yield group


def _why_never(error: str) -> str:
    attribute = error.partition("'StandIn' object has no attribute ")[2]
    if attribute:
        return f'the model uses {attribute} of its own backbone, which ours lack'
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


def _no_stage(old: Sequence[Output], kept: Sequence[int], new: Sequence[Output]) -> str:
    return (
        f'its consumers take maps at strides {[old[i].stride for i in kept]} with '
        f'{[old[i].channels for i in kept]} channels, and the stages of the new one '
        f'are at {[output.stride for output in new]}, one map each'
    )
