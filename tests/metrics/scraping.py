"""Metrics of a process, read by prometheus-client's own parser."""

from __future__ import annotations

import requests
from prometheus_client.parser import text_string_to_metric_families

LIMIT_S = 60.0


class Scrape:
    """One scrape of ``/metrics``."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the series with these labels; 0 without one."""
        return sum(
            sample.value for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items()
        )


def scrape(url: str) -> Scrape:
    answer = requests.get(f"{url}/metrics", timeout=LIMIT_S)
    answer.raise_for_status()
    return Scrape(answer.text)
