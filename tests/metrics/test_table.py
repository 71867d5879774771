"""The table of metrics, and how values of several processes become one."""

from __future__ import annotations

import asyncio
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from langlog_backbone.metrics import reference, table
from langlog_backbone.metrics.ages import BatchAge
from langlog_backbone.metrics.deferred import MOST, later, settle
from langlog_backbone.metrics.exposition import Exposition, rendered
from langlog_backbone.metrics.families import Family, Sample, counted, family, lasting, merged
from langlog_backbone.metrics.tenants import CALLERS_MAX, OTHER, TopTenants
from langlog_backbone.metrics.worker_figures import WorkerFigures, serve_figures
from langlog_backbone.time.clock import iso, now
from prometheus_client import CollectorRegistry, Gauge, Histogram

from tests.metrics.scraping import Scrape

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


def test_the_reference_page_has_the_table() -> None:
    text = PAGE.read_text()
    assert text == reference.page(text), "run python -m langlog_backbone.metrics.reference docs/reference/metrics.md"
    assert set(reference.PARTS) == {metric.part for metric in table.TABLE.values()}


def test_names_follow_the_conventions_of_prometheus() -> None:
    for metric in table.TABLE.values():
        assert re.fullmatch(r"(langlog|lg_api|process|python)_[a-z_]+", metric.name), metric.name
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert all(re.fullmatch(r"[a-z]+", label) and label != "le" for label in metric.labels)


def test_counters_of_processes_add_up_and_gauges_of_the_deployment_do_not() -> None:
    one = [family(table.PARKED_KEYS, 3), family(table.UNAVAILABLE_ATTEMPTS, {("a", "redis"): 2, ("b", "redis"): 1})]
    two = [family(table.PARKED_KEYS, 3), family(table.UNAVAILABLE_ATTEMPTS, {("a", "redis"): 5})]
    unknown = [Family("langlog_of_a_newer_release", [Sample("langlog_of_a_newer_release", (), 1.0)])]
    read = Scrape(rendered(merged([one, two, unknown])).decode())
    assert read.value("langlog_parked_keys") == 3
    assert read.value("langlog_unavailable_attempts_total", loop="a") == 7
    assert read.value("langlog_unavailable_attempts_total") == 8
    assert [kept.name for kept in lasting(one)] == [table.UNAVAILABLE_ATTEMPTS]


def test_label_values_are_escaped() -> None:
    hostile = 'a"b\\c\nd'
    read = Scrape(rendered([family(table.QUEUE_OLDEST, {(hostile,): 1.5})]).decode())
    assert read.value("langlog_queue_oldest_seconds", graph=hostile) == 1.5


def test_whole_numbers_are_written_without_decimals() -> None:
    """Scripts compare lines of the text."""
    shown = [
        family(table.PARKED_KEYS, 0),
        family(table.RESIDENT, 123_456_789),
        family(table.CPU, 1.5),
        family(table.STARTED, 1_764_400_000.25),
        family(table.QUEUE_OLDEST, {("ends in 2.0",): 3}),
    ]
    lines = rendered(shown).decode().splitlines()
    assert {line for line in lines if not line.startswith("#")} == {
        "langlog_parked_keys 0",
        "process_resident_memory_bytes 123456789",
        "process_cpu_seconds_total 1.5",
        "process_start_time_seconds 1.76440000025e+09",
        'langlog_queue_oldest_seconds{graph="ends in 2.0"} 3',
    }


async def test_a_source_that_fails_or_hangs_leaves_the_others_alone() -> None:
    shown = Exposition()

    async def failing() -> list[Family]:
        raise ValueError("a defect")

    async def well() -> list[Family]:
        return [family(table.PARKED_KEYS, 2)]

    shown.add("failing", failing)
    shown.add("well", well)
    assert Scrape((await shown.text()).decode()).value("langlog_parked_keys") == 2
    shown.remove(well)
    assert not Scrape((await shown.text()).decode()).value("langlog_parked_keys")


async def test_figures_of_workers_that_ended_stay_in_the_sums() -> None:
    figures, refreshed = WorkerFigures(), []

    async def worker() -> asyncio.Task[None]:
        ours, theirs = socket.socketpair()
        serving = asyncio.create_task(serve_figures(theirs.detach(), lambda: refreshed.append(1)))
        figures.follow(ours)
        return serving

    table.APPENDED_BYTES.labels("sqlite").inc(0)
    first, second = await worker(), await worker()
    while (both := Scrape(rendered(await figures.collect()).decode())).value("langlog_worker_processes") < 2:
        await asyncio.sleep(0)  # until both ends are open
    assert len(refreshed) >= 2
    counted = both.value("process_cpu_seconds_total")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    while figures.alive > 1:  # the end of its socket is read by a task
        await asyncio.sleep(0.001)
    one = Scrape(rendered(await figures.collect()).decode())
    assert one.value("langlog_worker_processes") == 1
    assert one.value("process_cpu_seconds_total") >= counted, "a counter does not go back"
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    await figures.stop()


def test_the_busiest_callers_are_named_and_each_series_only_grows() -> None:
    tenants = TopTenants(2)
    for tenant, count in (("a", 5), ("b", 3), ("c", 1), (OTHER, 2)):
        for _ in range(count):
            tenants.count(tenant)
    tenants.count("")
    assert tenants.values() == {("a",): 0, ("b",): 0, (OTHER,): 11}
    for tenant in ("a", "a", "c"):
        tenants.count(tenant)
    assert tenants.values() == {("a",): 2, ("b",): 0, (OTHER,): 12}
    for _ in range(5):
        tenants.count("c")  # 7 in all, twice as many as b
    assert tenants.values() == {("a",): 2, ("c",): 0, (OTHER,): 17}


def test_callers_without_end_take_bounded_room() -> None:
    tenants = TopTenants(1)
    for n in range(3 * CALLERS_MAX):
        tenants.count(f"user-{n}")
        tenants.count("busy")
    assert len(tenants._counts) <= CALLERS_MAX + 1
    assert set(tenants.values()) == {("busy",), (OTHER,)}
    assert TopTenants(0).values() == {}


def test_what_is_noted_is_counted_once_and_before_metrics_are_read() -> None:
    def records() -> float:
        (family,) = [one for one in counted() if one.name == "langlog_log_records_appended_total"]
        return sum(sample.value for sample in family.samples if sample.labels == (("log", "sqlite"),))

    before = records()
    count = table.APPENDED_RECORDS.labels("sqlite").inc

    def note() -> None:
        for _ in range(2 * MOST):
            later(count, 3)

    with ThreadPoolExecutor(4) as threads:
        for noting in [threads.submit(note) for _ in range(4)]:
            noting.result()
    later(count)
    assert records() - before == 4 * 2 * MOST * 3 + 1
    assert records() - before == 4 * 2 * MOST * 3 + 1


def test_the_age_of_a_batch_is_that_of_its_oldest_record() -> None:
    registry = CollectorRegistry()
    lag, delivery = Gauge("lag", "", registry=registry), Histogram("delivery", "", registry=registry)
    took = Histogram("took", "", registry=registry)
    age = BatchAge(lag, delivery, took)
    assert registry.get_sample_value("lag") == 0
    with age.of({"ce_time": iso(now().replace(year=2020))}):
        assert (registry.get_sample_value("lag") or 0) > 3e7
    for headers in ({}, {"ce_time": "yesterday"}, {"ce_time": "2020-01-01T00:00:00"}):
        with age.of(headers):
            pass
    assert registry.get_sample_value("lag") == 0
    settle()
    assert registry.get_sample_value("delivery_count") == 2
    assert registry.get_sample_value("took_count") == 4
