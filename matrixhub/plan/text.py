"""A plan as text: cells, stages, what is shared by how many, what is refused and why."""

from matrixhub.plan.build import Plan


def plan_text(plan: Plan) -> str:
    """The page that ``matrixhub plan`` prints."""
    lines = [_count(len(plan.cells), "cell")]
    for cell in plan.cells.values():
        trains = "encoder and heads" if cell.trainer["train_encoder"] else "heads on stored features"
        lines.append(f"  {cell.id[:6]}  {cell.name}: trains {trains}")
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


def _unshared(plan: Plan) -> int:
    return sum(len(stage.cells) for stage in plan.stages)


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
