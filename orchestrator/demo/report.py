"""What a person sees of the demo: a bar while it runs, then where, why and how fast."""

from rich.console import Console
from rich.rule import Rule
from rich.table import Table

from orchestrator.demo.ledger import Ledger, reasons


def show(ledger: Ledger, console: Console) -> None:
    """Print the books."""
    console.print(_steps(ledger))
    console.print(_privacy(ledger))
    for title, text in ledger.samples():
        console.print(Rule(f"explain(): {title}", align="left"))
        console.print(text, highlight=False, soft_wrap=True)
    console.print(Rule())
    for event in ledger.events:
        console.print(f"• {event}")
    share = ledger.sorted_right / max(ledger.done, 1)
    lost = f"[bold red]{len(ledger.lost)} lost[/]" if ledger.lost else "[green]none lost[/]"
    console.print(
        f"{ledger.done} of {ledger.submitted} messages sorted, {lost}; "
        f"{share:.0%} went to the topic they were written about"
    )


def _steps(ledger: Ledger) -> Table:
    table = Table(title="where each step ran", title_justify="left")
    for head in ("step", "tier"):
        table.add_column(head)
    for head in ("calls", "p50 ms", "p99 ms"):
        table.add_column(head, justify="right")
    table.add_column("why")
    pairs = sorted({(step.name, step.tier) for step in ledger.steps})
    tiers = sorted({step.tier for step in ledger.steps})
    for name, tier in [*pairs, *(("", tier) for tier in tiers)]:
        steps = ledger.chosen(name, tier)
        why = "\n".join(f"{count} x {reason}" for reason, count in reasons(steps).items())
        times = [f"{ledger.quantile_ms(name, tier, share):.1f}" for share in (0.5, 0.99)]
        last = (name, tier) == pairs[-1]
        cells = (name or "all", tier, str(len(steps)), *times, why if name else "")
        table.add_row(*cells, end_section=last)
    return table


def _privacy(ledger: Ledger) -> Table:
    table = Table(title="what privacy did", title_justify="left", show_header=False)
    masked = ", ".join(f"{count} {kind}" for kind, count in ledger.masked.most_common())
    table.add_row("masked before anything left the edge", masked)
    stayed = sum(step.why.startswith("privacy") for step in ledger.steps)
    table.add_row("calls kept at the edge by their label", str(stayed))
    refused = ", ".join(f"{count} of {name}" for name, count in ledger.refused.items())
    table.add_row("calls refused, since no place was cleared for them", refused or "none")
    return table
