"""The doorbell: a Celery message that says only `look at this queue`. Losing, delaying or doubling one is harmless."""

from functools import lru_cache

from celery import Celery
from kombu.entity import Exchange, Queue
from kombu.exceptions import OperationalError

from segsmith_shared.jobs.queue import QUEUES
from segsmith_shared.settings import settings
from segsmith_shared.telemetry import logger

log = logger(__name__)

DRAIN = "segsmith.drain"
MOST_WAITING = 32
REFUSED = (OperationalError, OSError)


@lru_cache(maxsize=8)
def application(redis_url: str) -> Celery:
    """The Celery application of both sides. It keeps no results and knows one task, which the workers define."""
    application = Celery("segsmith", broker=redis_url, set_as_current=False)
    application.conf.update(
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_serializer="json",
        accept_content=["json"],
        task_create_missing_queues=False,
        # the nameless exchange needs no binding in Redis, so that a flushed Redis still takes rings
        task_queues=[_queue_named(name_of(queue)) for queue in QUEUES],
        task_default_queue=name_of("cpu"),
        task_publish_retry=False,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=3,
        broker_transport_options={
            "socket_connect_timeout": 3,
            "socket_timeout": 10,
            "socket_keepalive": True,
            "health_check_interval": 15,
            # a request must not wait for Redis; a worker's own reconnecting follows broker_connection_max_retries
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0,
        },
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
    )
    return application


def _queue_named(name: str) -> Queue:
    nameless = Exchange("", type="direct")  # type: ignore[no-untyped-call]  # kombu has no annotations
    return Queue(name, nameless, routing_key=name)  # type: ignore[no-untyped-call]


def name_of(queue: str) -> str:
    """The queue's name in Redis, e.g. `segsmith.gpu`."""
    return f"segsmith.{queue}"


def ring(queue: str, times: int = 1, *, redis_url: str | None = None) -> bool:
    """Wake up to `times` workers of the queue; no more rings are left waiting than that, nor more than 32.

    Returns whether Redis took them. Where it does not answer, the rows are safe and the caretaker rings later.
    """
    app = application(redis_url or settings().redis_url.get_secret_value())
    try:
        with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
            waiting = producer.channel.client.llen(name_of(queue))
            for _ in range(min(times, MOST_WAITING) - waiting):
                app.send_task(DRAIN, (queue,), queue=name_of(queue), producer=producer)
    except REFUSED as error:
        log.warning("the bell did not ring", queue=queue, error=str(error))
        return False
    return True
