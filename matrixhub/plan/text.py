"""A plan as text: cells, stages, what is shared by how many, what is refused and why."""

from collections import Counter
from collections.abc import Sequence

from matrixhub.plan.build import Plan


def plan_text(plan: Plan) -> str:
    """The page that ``matrixhub plan`` prints."""
    lines = [_count(len(plan.cells), "cell")]
    cells = list(plan.cells.values())
    for cell, apart in zip(cells, told_apart([(c.name, c.overrides) for c in cells]), strict=True):
        trains = "encoder and heads" if cell.trainer["train_encoder"] else "heads on stored features"
        lines.append(f"  {cell.id[:6]}  {cell.name}: trains {trains}{f'  ({apart})' if apart else ''}")
    lines += ["", f"{_count(len(plan.stages), 'stage')}, instead of {_unshared(plan)} without sharing"]
    for stage in plan.stages:
        shared = f"  (shared by {len(stage.cells)} cells)" if len(stage.cells) > 1 else ""
        lines.append(f"  {stage.kind:<6} {stage.label}{shared}")
    if plan.merged:
        lines += ["", f"{_count(plan.merged, 'job')} equal to an earlier one, merged"]
    if plan.refused:
        lines += ["", f"{_count(len(plan.refused), 'cell')} refused"]
        for refusal in plan.refused:
            lines += [
                f"  {refusal.name}  {' '.join(refusal.overrides)}",
                *(f"    {r}" for r in refusal.reasons),
            ]
    return "\n".join(lines)


def told_apart(named: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """For each (name, overrides): the overrides that not all of that name have; empty where that is none."""
    total = Counter(name for name, _ in named)
    have = Counter((name, override) for name, overrides in named for override in set(overrides))
    return [" ".join(o for o in overrides if have[name, o] < total[name]) for name, overrides in named]


def _unshared(plan: Plan) -> int:
    return sum(len(stage.cells) for stage in plan.stages)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
