"""Results as lines and as JSON, each figure beside its bar."""

from __future__ import annotations

from collections.abc import Sequence

from bench.bars import held
from bench.driver.load import Result


def line(result: Result, log: str) -> str:
    """Return a result, and below it the bars."""
    parts = [f"{result.name:<44}"]
    if result.count:
        parts.append(f"{result.count:>6} at {result.rate:>8,.0f}/s")
    if result.latencies_ms:
        shares = " ".join(f"p{round(100 * q)} {result.percentile(q):6.2f}" for q in (0.5, 0.95, 0.99))
        parts.append(f"{shares} max {max(result.latencies_ms):6.1f} ms")
    if result.cpu_s and result.count:
        parts.append(f"CPU {result.cpu_ms():6.3f} ms/{result.unit}")
        split = ", ".join(
            f"{part} {used * 1000 / result.count:.3f}" for part, used in sorted(result.cpu_s.items()) if used > 0
        )
        parts.append(f"({split})")
    if result.more and not result.note:
        parts.append(", ".join(f"{name} {value:.4g}" for name, value in result.more.items()))
    if result.errors:
        parts.append(f"ERRORS {result.errors}")
    if result.note:
        parts.append(result.note)
    bars = held(result.name, log, result.figures())
    return "  ".join(parts) + "".join(f"\n    {bar.text(value)}" for bar, value in bars)


def summary(results: Sequence[Result], log: str) -> str:
    """Return the number of bars that are met, and those that are not."""
    verdicts = [(result, bar, value) for result in results for bar, value in held(result.name, log, result.figures())]
    missed = [
        f"  {result.name}: {bar.text(value)}" for result, bar, value in verdicts if bar.verdict(value) == "MISSED"
    ]
    aims = sum(bar.verdict(value) == "aim" for _, bar, value in verdicts)
    head = (
        f"{len(verdicts)} bars: {len(verdicts) - len(missed)} met ({aims} of them as aimed for), {len(missed)} missed"
    )
    return "\n".join([head, *missed])


def as_json(result: Result, log: str) -> dict[str, object]:
    return {
        "name": result.name,
        "count": result.count,
        **result.figures(),
        "cpu_ms_without_broker": result.cpu_ms(without=("kafka",)),
        "cpu_s": dict(result.cpu_s),
        "errors": result.errors,
        "note": result.note,
        "bars": [
            {"figure": bar.figure, "value": value, "must": bar.must, "aim": bar.aim, "verdict": bar.verdict(value)}
            for bar, value in held(result.name, log, result.figures())
        ],
    }
