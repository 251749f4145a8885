"""Variables that Kubernetes and Docker set for services of the same names end no process."""

from __future__ import annotations

import http.client
from pathlib import Path

from tests.support.ports import free_ports
from tests.support.redis_server import RedisServer
from tests.support.site import open_site
from tests.support.waiting import wait_for

SERVICES = ["FLOWER", "REDIS", "CELERY", "CELERY_WORKER", "CELERY_RDB", "DISPATCHER", "DISPATCHER_WEB", "DISPATCHER__A"]
LINKS = {
    f"{service}_{name}": value
    for service in SERVICES
    for name, value in {
        "PORT": "tcp://10.0.0.1:5555",
        "PORT_5555_TCP": "tcp://10.0.0.1:5555",
        "PORT_5555_TCP_ADDR": "10.0.0.1",
        "PORT_5555_TCP_PORT": "5555",
        "PORT_5555_TCP_PROTO": "tcp",
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "5555",
        "SERVICE_PORT_HTTP": "5555",
    }.items()
}
RUBBISH = {
    "FLOWER_DEBUG": "rubbish",
    "FLOWER_MAX_TASKS": "many",
    "FLOWER_FORMAT_TASK": "x",
    "FLOWER_BROKER_API": "x",
    "CELERY_BROKER_URL": "rubbish",
    "CELERY_APP": "shop.celery",
    "CELERY_CONFIG_MODULE": "nowhere",
    "CELERY_LOADER": "nowhere",
    "CELERY_RESULT_BACKEND": "rubbish://",
    "PROMETHEUS_MULTIPROC_DIR": "/nowhere",
}


def answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def test_worker_flower_and_exporter_run_beside_services_of_their_names(tmp_path: Path) -> None:
    environ = {**LINKS, **RUBBISH}
    flower_port, exporter_port = free_ports(2)
    with RedisServer() as redis, open_site(tmp_path, redis) as site:
        flower = site.processes.dispatcher("flower", "--port", str(flower_port), "--basic-auth", "ops:word", **environ)
        exporter = site.processes.dispatcher("exporter", "--port", str(exporter_port), **environ)
        worker = site.worker(**environ)
        site.emitting("tracker.emit('shop.order.paid')\nassert dispatcher.flush(60)", **environ).succeed()
        site.wait_for_lines(1)
        wait_for(lambda: answers(flower_port, "/healthcheck"), what=lambda: flower.output)
        wait_for(lambda: answers(exporter_port, "/metrics"), what=lambda: exporter.output)
        assert worker.stop(60) == 0
        assert "FLOWER_DEBUG is left out" in flower.output
        assert "FLOWER_PORT" not in flower.output
