"""Names of the Redis channels and keys, with the sender and receiver of each.

gw:<id>              replies to commands (Reply) and answers to queries (Answer), from projector and workers; a gateway's id,
                     or ``worker-…`` for commands that a worker sent, whose process is never the projector's
lifecycle:<thread id>     lifecycle events that the read model now holds (LifecycleUpdate), from the projector
frames:<thread id>   live stream frames (FrameBatch), from workers
watermark            positions of the projection (JSON: topic -> {partition: offset}), from the projector
lists                objects that a batch has changed (ListChanges), from the projector to the gateways
control              stop a run (Control), from the decider to workers
timers               a delayed run was made, a cron was changed or a webhook is due, from the projector to the scheduler
resend-replies       replies to send once more (ResendReplies), from the gateways and workers that wait for them to the projectors
succession           partitions (JSON list) that a projector has taken over, from it to the gateways
replay:<id>          progress of a replay (ReplayPart), from an executor to the gateway that follows it
missed               messages of any channel were lost, from their publisher to all processes
parked               the key of an event that cannot be folded, from the projector to the deciders
"""

WATERMARK = "watermark"
LISTS = "lists"
CONTROL = "control"
TIMERS = "timers"
SUCCESSION = "succession"
PARKED = "parked"
MISSED = "missed"
RESEND_REPLIES = "resend-replies"
WORKER_ID = "worker-"
"""Prefix of the ids of workers that wait for replies."""


def gateway(gateway_id: str) -> str:
    """Return the channel for replies (first byte ``R``) and answers (first byte ``A``) to one gateway."""
    return f"gw:{gateway_id}"


def lifecycle(thread_id: str) -> str:
    return f"lifecycle:{thread_id}"


def frames(thread_id: str) -> str:
    """Return the channel of live frames; also the key of the Redis stream of the recent ones (field ``f``)."""
    return f"frames:{thread_id}"


def replay(id: str) -> str:
    return f"replay:{id}"


def one_receiver(channel: str) -> bool:
    """Return whether only one process subscribes to the channel."""
    return channel.startswith(("gw:", "replay:"))
