"""A plan as a picture: a flowchart in Mermaid's language, from sources over shared stages to cells."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from matrixhub.plan.build import Plan
from matrixhub.plan.cell import Cell
from matrixhub.plan.share import Stage

SHAPES = {"load": ("[(", ")]"), "split": ("[", "]"), "encode": ("[[", "]]")}
CLASSES = (
    "classDef shared fill:#dbeafe,stroke:#1d4ed8,stroke-width:3px,color:#111827",
    "classDef done fill:#dcfce7,stroke:#15803d,color:#111827",
    "classDef refused fill:#fee2e2,stroke:#b91c1c,stroke-dasharray:4,color:#111827",
)


def mermaid(plan: Plan) -> str:
    """A flowchart. Cells that read the same stages are one node; what they share has a heavy border.

    Those that train jointly are linked by a dotted line.
    """
    lines = ["flowchart LR", *(f"  {one}" for one in CLASSES)]
    names = {stage.key: f"s{number}" for number, stage in enumerate(plan.stages)}
    for stage in plan.stages:
        if not stage.cell:
            lines.append(_node(names[stage.key], f"{stage.kind} {stage.label}", stage))
            lines += _edges(names, stage.needs, names[stage.key])
    groups = _groups(plan)
    for number, (needs, cells) in enumerate(groups.items()):
        lines.append(f'  c{number}(["{_text(_told(cells))}"])')
        lines += _edges(names, needs, f"c{number}")
    lines += _joint(groups.values())
    lines += _aside("done", "done already", [plan.cells[cell].name for cell in plan.done])
    lines += _aside("refused", "refused", [f"{r.name}: {' '.join(r.reasons)}" for r in plan.refused])
    return "\n".join(lines)


def _groups(plan: Plan) -> dict[tuple[str, ...], list[Cell]]:
    """Cells to run by the stages they read; a load is left out where another stage reads it for them."""
    groups: dict[tuple[str, ...], list[Cell]] = {}
    loads = {stage.key for stage in plan.stages if stage.kind == "load"}
    for stage in plan.stages:
        if stage.cell:
            needs = tuple(dict.fromkeys(key for key in stage.needs if key not in loads))
            groups.setdefault(needs, []).append(plan.cells[stage.cell])
    return groups


def _told(cells: Iterable[Cell]) -> str:
    """Product and encoders of cells that read the same, and each head with how many cells have it."""
    heads: dict[str, dict[str, int]] = {}
    for cell in cells:
        of_name = heads.setdefault(f"{cell.product['name']} on {cell.encoder_label}", {})
        of_name[cell.head_label] = of_name.get(cell.head_label, 0) + 1
    told = {name: [_counted(head, count) for head, count in found.items()] for name, found in heads.items()}
    return "\n".join(": ".join(filter(None, [name, ", ".join(found)])) for name, found in told.items())


def _counted(head: str, count: int) -> str:
    return head if count == 1 else f"{count} × {head}".rstrip()


def _node(name: str, text: str, stage: Stage) -> str:
    start, end = SHAPES[stage.kind]
    shared = f"\nshared by {len(stage.cells)} cells" if len(stage.cells) > 1 else ""
    return f'  {name}{start}"{_text(text + shared)}"{end}{":::shared" if shared else ""}'


def _edges(names: dict[str, str], needs: Iterable[str], to: str) -> Iterator[str]:
    return (f"  {names[key]} --> {to}" for key in needs)


def _joint(groups: Iterable[list[Cell]]) -> Iterator[str]:
    """Links between nodes that have cells of one joint group, each once."""
    nodes: dict[str, list[str]] = {}
    for number, cells in enumerate(groups):
        for joint in dict.fromkeys(cell.joint for cell in cells if cell.joint):
            nodes.setdefault(joint, []).append(f"c{number}")
    links = dict.fromkeys(pair for some in nodes.values() for pair in pairwise(some))
    return (f"  {one} -. jointly .- {other}" for one, other in links)


def _aside(kind: str, title: str, items: list[str]) -> list[str]:
    """Cells that do not run, in a box of their own."""
    if not items:
        return []
    nodes = [f'    {kind}{number}["{_text(item)}"]:::{kind}' for number, item in enumerate(items)]
    return [f'  subgraph {kind}["{title}"]', *nodes, "  end"]


def _text(text: str) -> str:
    """Quotes and brackets as Mermaid's entities, or it would read them."""
    replaced = {"#": "#35;", "&": "#amp;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "\n": "<br/>"}
    return "".join(replaced.get(character, character) for character in text)
