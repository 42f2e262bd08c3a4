"""The table of checks for the documentation, made of their docstrings."""

from matrixhub.testing import CHECKS, Check


def table() -> str:
    """Markdown: a section for each kind of subject, a row for each of its checks."""
    sections = []
    for kinds in dict.fromkeys(check.kinds for check in CHECKS):
        rows = [_row(check) for check in CHECKS if check.kinds == kinds]
        title = "every component, built" if len(kinds) > 4 else ", ".join(kinds)
        head = f"### {title}\n\n| check | what it asks, and why | how to mend it |\n|---|---|---|\n"
        sections.append(head + "\n".join(rows))
    return "\n\n".join(sections)


def _row(check: Check) -> str:
    name = f"`{check.name}`{' (slow)' if check.slow else ''}"
    cells = (name, check.asks.replace("``", "`"), check.mend.replace("``", "`"))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
