"""A plan as text: cells, what is done already, stages and who shares them, cost, what is refused and why."""

from collections import Counter
from collections.abc import Iterable, Sequence

from matrixhub.plan.build import Plan
from matrixhub.plan.cell import Cell
from matrixhub.plan.cost import total
from matrixhub.plan.joint import partners
from matrixhub.plan.share import Stage


def plan_text(plan: Plan) -> str:
    """The page that ``matrixhub plan`` prints."""
    paragraphs = [_cells(plan), _stages(plan), _merged(plan), _refused(plan)]
    return "\n\n".join("\n".join(lines) for lines in paragraphs if lines)


def _cells(plan: Plan) -> list[str]:
    cells = list(plan.cells.values())
    done = f", {len(plan.done)} done already and skipped" if plan.done else ""
    lines = [_count(len(cells), "cell") + done]
    for cell, apart in zip(cells, told_apart([(c.name, c.overrides) for c in cells]), strict=True):
        what = f"done in {plan.done[cell.id]}" if cell.id in plan.done else _work(cell)
        others = partners(cell, cells)
        what += f", jointly with {' and '.join(others)}" if others else ""
        lines.append(f"  {cell.id[:6]}  {cell.name}: {what}{f'  ({apart})' if apart else ''}")
    return lines


def _work(cell: Cell) -> str:
    if cell.generator:
        return f"{_learns(cell)}{cell.generator['name']} writes its answers"
    layers, budget = cell.trainer.get("trainable_layers"), cell.trainer.get("layers_budget_gb")
    last = "last layer" if layers == 1 else f"last {layers} layers"
    states = (
        f"stored hidden states, recomputed if over {budget:g} GB" if budget else "recomputed hidden states"
    )
    trains = {
        "frozen": "heads on stored features",
        "partial": f"{last} and heads on {states}",
        "lora": "low-rank matrices in the encoder, and heads",
        "finetune": "encoder and heads",
    }
    return f"trains {trains[cell.training]}"


def _learns(cell: Cell) -> str:
    """What trains before a generator writes."""
    prefix = ["the way from features to its prefix"] if cell.fusion else []
    own = {"lora": ["low-rank matrices in it"], "finetune": ["all of it"]}
    trained = [*prefix, *own.get(cell.training, [])] if cell.trainer else []
    return f"trains {' and '.join(trained)}, then " if trained else ""


def _stages(plan: Plan) -> list[str]:
    if not plan.stages:
        return ["nothing to do; --force runs the cells again"]
    cost = total(plan)
    about = "" if cost is None else f"; about {duration(cost)} by earlier runs, less what is stored"
    unshared = sum(len(stage.cells) for stage in plan.stages)
    instead = f", instead of {unshared} without sharing" if unshared > len(plan.stages) else ""
    lines = [f"{_count(len(plan.stages), 'stage')}{instead}{about}"]
    # Cells that differ in their options only train under one name: one line for all of these.
    groups: dict[tuple[str, str], list[Stage]] = {}
    for stage in plan.stages:
        groups.setdefault((stage.kind, stage.label if stage.cell else stage.key), []).append(stage)
    return [*lines, *(_stage(plan, group) for group in groups.values())]


def _stage(plan: Plan, group: Sequence[Stage]) -> str:
    first = group[0]
    cells = [cell for stage in group for cell in stage.cells]
    notes = []
    if len(group) > 1:
        notes.append(_count(len(group), "cell"))
    elif len(cells) > 1:
        notes.append(f"shared by {len(cells)} cells of {', '.join(products(plan, cells))}")
    if all(stage.key in plan.seconds for stage in group):
        notes.append(f"about {duration(sum(plan.seconds[stage.key] for stage in group))}")
    told = f"  ({'; '.join(notes)})" if notes else ""
    width = max(len(stage.kind) for stage in plan.stages)
    return f"  {first.kind:<{width}} {first.label}{told}"


def _merged(plan: Plan) -> list[str]:
    return [f"{_count(plan.merged, 'job')} equal to an earlier one, merged"] if plan.merged else []


def _refused(plan: Plan) -> list[str]:
    lines = [f"{_count(len(plan.refused), 'cell')} refused"] if plan.refused else []
    for reasons in dict.fromkeys(refusal.reasons for refusal in plan.refused):
        alike = [refusal for refusal in plan.refused if refusal.reasons == reasons]
        lines += [f"  {refusal.name}  {' '.join(refusal.overrides)}" for refusal in alike]
        lines += [f"    {reason}" for reason in reasons]
    return lines


def products(plan: Plan, cells: Iterable[str]) -> list[str]:
    """Names of the products of some cells, each once."""
    return list(dict.fromkeys(str(plan.cells[cell].product["name"]) for cell in cells))


def duration(seconds: float) -> str:
    """Seconds as a person would say them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def told_apart(named: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """For each (name, overrides): the overrides that not all of that name have; empty where that is none."""
    total = Counter(name for name, _ in named)
    have = Counter((name, override) for name, overrides in named for override in set(overrides))
    return [" ".join(o for o in overrides if have[name, o] < total[name]) for name, overrides in named]


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
