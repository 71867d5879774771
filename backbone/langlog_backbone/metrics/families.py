"""Values of metrics between their producers and the exposition: plain data, which processes may exchange."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from prometheus_client.core import Metric as PrometheusMetric

from .deferred import settle
from .table import REGISTRY, TABLE

Labels = tuple[tuple[str, str], ...]


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One series: its name (``…_bucket``, ``…_sum``, ``…_count`` of histograms), labels and value."""

    name: str
    labels: Labels
    value: float


class Family(msgspec.Struct, frozen=True, array_like=True):
    """The series of one declared metric."""

    name: str
    samples: list[Sample]


def family(name: str, values: Mapping[tuple[str, ...], float] | float) -> Family:
    """Return the family of a counter or gauge, given its value, or its values by label values in the order of the table."""
    if not isinstance(values, Mapping):
        return Family(name, [Sample(name, (), values)])
    labels = TABLE[name].labels
    return Family(
        name, [Sample(name, tuple(zip(labels, given, strict=True)), value) for given, value in sorted(values.items())]
    )


def counted() -> list[Family]:
    """Metrics that code of this process has counted."""
    settle()
    families = []
    for metric in REGISTRY.collect():
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        samples = [
            Sample(sample.name, tuple(sample.labels.items()), sample.value)
            for sample in metric.samples
            if not sample.name.endswith("_created")
        ]
        families.append(Family(name, samples))
    return families


def merged(parts: Iterable[Iterable[Family]]) -> list[Family]:
    """Return the merged families of several processes or sources: sums, or the largest value if the table declares that."""
    values: dict[str, dict[tuple[str, Labels], float]] = {name: {} for name in TABLE}
    seen: set[str] = set()
    for part in parts:
        for one in part:
            declared = TABLE.get(one.name)
            if declared is None:  # of a worker with other code
                continue
            seen.add(one.name)
            into = values[one.name]
            for sample in one.samples:
                key = (sample.name, sample.labels)
                former = into.get(key)
                if former is None:
                    into[key] = sample.value
                else:
                    into[key] = former + sample.value if declared.merge == "sum" else max(former, sample.value)
    return [
        Family(name, [Sample(series, labels, value) for (series, labels), value in of.items()])
        for name, of in values.items()
        if name in seen
    ]


def lasting(families: Iterable[Family]) -> list[Family]:
    """Return the metrics that stay valid for an ended process: its counters and histograms."""
    return [one for one in families if one.name in TABLE and TABLE[one.name].kind != "gauge"]


def described(families: Iterable[Family]) -> Iterator[PrometheusMetric]:
    """Yield the families as prometheus-client's type, in the order of the table."""
    for one in families:
        declared = TABLE[one.name]
        metric = PrometheusMetric(one.name.removesuffix("_total"), declared.text, declared.kind)
        for sample in one.samples:
            metric.add_sample(sample.name, dict(sample.labels), sample.value)
        yield metric
