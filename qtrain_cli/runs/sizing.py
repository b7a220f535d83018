"""A budget of bytes as a method's size: the largest plan whose finished file fits, before anything is
trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qtrain_cli.artifact.size import Known, bytes_bound
from qtrain_cli.errors import BadInput
from qtrain_cli.methods.forms import Plan
from qtrain_cli.methods.generator.plan import plan_of
from qtrain_cli.methods.generator.planning import plan_generator
from qtrain_cli.methods.generator.spec import GeneratorSpec
from qtrain_cli.methods.method import Method, Scene, Unsuited
from qtrain_cli.methods.table import method_of
from qtrain_cli.runs.layouts import layout_for
from qtrain_cli.settings import BudgetSettings
from qtrain_cli.training.generated import Sized


@dataclass(frozen=True)
class Measure:
    """A method of the table on one model, and what is known of its file: sizes plans in bytes."""

    name: str
    scene: Scene
    known: Known

    @property
    def method(self) -> Method:
        """What the row does."""
        return method_of(self.name)

    def sized(self, plan: Plan) -> Sized:
        """The method with this plan. Raises `Unsuited`."""
        module = self.method.module(self.scene, plan)
        if self.method.layout:
            return Sized(self.method, plan, module, self.method.layout(self.scene))
        layout = self.scene.layout if module is self.scene.module else layout_for(module, ((), ()), None)
        return Sized(self.method, plan, module, layout)

    def bytes(self, plan: Plan, width: float) -> int:
        """What the finished file takes at `width` bits a number: ours at most, others about."""
        chosen = self.sized(plan)
        bits = self.method.bits(self.scene, plan, chosen.forms, width)
        return bytes_bound(self.name, plan, chosen.layout, self.known, bits)

    def fitting(self, width: int, budget: int, most: int | None = None) -> Plan:
        """The largest plan whose file fits `budget` bytes; the smallest when none does.

        Args:
            width: bits of a number.
            budget: of the whole file.
            most: no larger size than this.

        Raises:
            BadInput: ours does not fit with one layer. Unsuited: the method cannot be applied to this model.
        """
        planned = self.method.planned
        if planned is not None:
            return planned(self.scene, width, budget, lambda plan: self.bytes(plan, width))
        largest = min(self.method.largest(self.scene), most or 2**62)
        size = _bisected(largest, lambda size: self._fits(size, width, budget))
        return self.method.plan(self.scene, size)

    def _fits(self, size: int, width: int, budget: int) -> bool:
        """Whether a file of this size keeps to the bytes; none has more numbers than any file may have."""
        try:
            return self.bytes(self.method.plan(self.scene, size), width) <= budget
        except Unsuited:
            raise
        except BadInput:
            if size == 1:
                raise
            return False


def planned_ours(sizes: Measure, budget: BudgetSettings) -> GeneratorSpec:
    """The generator that a budget buys for the scene. Raises as `plan_generator`."""
    change, scene = sizes.scene.ground is not None, sizes.scene
    bits = budget.bits(change)
    return plan_generator(
        scene.layout, budget, scene.seed, lambda spec: sizes.bytes(plan_of(spec), bits), change
    )


def _bisected(most: int, fits: Callable[[int], bool]) -> int:
    """The largest size from 1 to `most` that fits, 1 when none does; sizes grow with their number."""
    low, high = 1, most
    while low < high and (low > 1 or fits(low)):
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
