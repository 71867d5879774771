"""A projector that cannot reach its database leaves its partitions to others, reports the reason, and joins again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping

from langlog_backbone.context import Backbone, open_backbone
from langlog_backbone.embedded.servers import EmbeddedPostgres
from langlog_backbone.log import NewRecord, TopicPartition
from langlog_backbone.process.settings import Settings
from langlog_backbone.time.clock import new_id
from langlog_projector.service import GROUP, ProjectorService
from langlog_schemas import envelope
from langlog_schemas import events as ev

from tests.outage.eventually import eventually
from tests.stack.fixtures import MakeSettings

GIVE_UP_S = 1.0


class Other:
    """Another member of the group, which only receives partitions."""

    def __init__(self) -> None:
        self.taken = asyncio.Event()

    async def assigned(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        self.taken.set()
        return {}

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Nothing was kept."""


async def append_thread(backbone: Backbone, partition: int) -> str:
    """A thread that the projector is to fold."""
    thread_id = new_id()
    while backbone.log.partition_of(thread_id) != partition:
        thread_id = new_id()
    event = ev.ThreadCreated(thread_id=thread_id, metadata={})
    headers = envelope.headers(
        id=new_id(), type=event.TYPE, source="/test", time="2026-01-01T00:00:00.000000+00:00", subject=thread_id
    )
    await backbone.log.append([NewRecord(event.TOPIC, thread_id, ev.encode(event), headers)])
    return thread_id


@contextlib.asynccontextmanager
async def serving(backbone: Backbone) -> AsyncIterator[ProjectorService]:
    service = ProjectorService(backbone)
    await service.start()
    task = asyncio.create_task(service.serve())
    try:
        yield service
        assert not task.done()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await service.stop()


async def folded(backbone: Backbone, thread_id: str) -> None:
    async def there() -> bool:
        row = await backbone.pool.fetchrow("SELECT 1 FROM threads WHERE thread_id = $1", thread_id)
        return row is not None

    await eventually(there)


async def ready(projector: ProjectorService) -> None:
    """Returns once it is ready: Postgres shows others a commit before the projector has heard that it was made."""

    async def well() -> bool:
        return await projector.not_ready() is None

    await eventually(well)


async def test_partitions_go_to_another_while_postgres_is_unavailable(
    make_settings: MakeSettings, own_postgres: EmbeddedPostgres
) -> None:
    settings: Settings = make_settings(
        database_uri=own_postgres.uri, projector_give_up_s=GIVE_UP_S, group_session_s=2.0, partitions=1
    )
    async with open_backbone(settings, local=True) as backbone, serving(backbone) as projector:
        await folded(backbone, await append_thread(backbone, 0))
        await ready(projector)
        other = Other()
        standing_by = backbone.log.member(GROUP, ev.FOLDED_TOPICS, other)
        reading = asyncio.create_task(standing_by.read())
        await own_postgres.stop()
        await append_thread(backbone, 0)

        async def gave_up() -> bool:
            reason = await projector.not_ready()
            return reason is not None and "its partitions are left to other projectors" in reason

        await eventually(gave_up)
        await other.taken.wait()
        await own_postgres.start()
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
        await standing_by.stop()
        await folded(backbone, await append_thread(backbone, 0))
        await ready(projector)


async def test_a_read_only_postgres_parks_nothing(make_settings: MakeSettings, own_postgres: EmbeddedPostgres) -> None:
    settings: Settings = make_settings(database_uri=own_postgres.uri, partitions=1)
    async with open_backbone(settings, local=True) as backbone, serving(backbone) as projector:
        await folded(backbone, await append_thread(backbone, 0))
        await backbone.pool.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await backbone.pool.execute("SELECT pg_reload_conf()")
        thread_id = await append_thread(backbone, 0)

        async def refused() -> bool:
            reason = await projector.not_ready()
            return reason is not None and "ReadOnlySQLTransactionError 25006" in reason

        await eventually(refused)
        await backbone.pool.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await backbone.pool.execute("SELECT pg_reload_conf()")
        await folded(backbone, thread_id)
        assert await backbone.pool.fetchval("SELECT count(*) FROM dead_letters") == 0
        await ready(projector)


async def test_a_dead_letter_is_published_once_however_often_its_batch_is_written(
    make_settings: MakeSettings, own_postgres: EmbeddedPostgres
) -> None:
    settings: Settings = make_settings(database_uri=own_postgres.uri, partitions=1)
    async with open_backbone(settings, local=True) as backbone, serving(backbone) as projector:
        await folded(backbone, await append_thread(backbone, 0))
        await ready(projector)
        await backbone.pool.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await backbone.pool.execute("SELECT pg_reload_conf()")
        availability, before = projector.projection.availability, projector.projection.availability.failures
        await append_unknown(backbone)

        async def failed_often() -> bool:
            return availability.failures >= before + 3

        await eventually(failed_often)
        await backbone.pool.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await backbone.pool.execute("SELECT pg_reload_conf()")

        async def parked() -> bool:
            return bool(await backbone.pool.fetchval("SELECT count(*) FROM dead_letters"))

        await eventually(parked)
        assert await backbone.log.end_offsets(ev.DEAD_LETTERS) == [1]


async def append_unknown(backbone: Backbone) -> None:
    """An event that no projector can fold."""
    thread_id = new_id()
    headers = envelope.headers(
        id=new_id(),
        type="thread.recolored.v9",
        source="/test",
        time="2026-01-01T00:00:00.000000+00:00",
        subject=thread_id,
    )
    await backbone.log.append([NewRecord(ev.RUN_EVENTS, thread_id, b"{}", headers)])


async def test_a_projector_without_records_is_ready_once_postgres_takes_writes(
    make_settings: MakeSettings, own_postgres: EmbeddedPostgres
) -> None:
    settings: Settings = make_settings(database_uri=own_postgres.uri, partitions=1, projector_give_up_s=3600.0)
    async with open_backbone(settings, local=True) as backbone, serving(backbone) as projector:
        await ready(projector)
        # as after a write that failed, and whose records another owner has folded since: nothing is left to be written
        projector.projection.availability.failed(OSError("the connection was lost"))
        assert await projector.not_ready() is not None
        await ready(projector)
