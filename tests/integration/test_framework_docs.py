"""The examples of the how-tos of frameworks, as they stand there, in real servers and from an empty directory."""

from __future__ import annotations

import http.client
import re
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT, Child
from tests.support.site import Site
from tests.support.tracking_lines import read_lines

HOW_TO = ROOT / "docs" / "how-to"
UVICORN = ("uvicorn", "app:app", "--host", "127.0.0.1", "--port", "0")
GUNICORN = ("gunicorn", "app:app", "--bind", "127.0.0.1:0", "--no-control-socket")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (HOW_TO / page).read_text(), re.MULTILINE | re.DOTALL)


def serve(site: Site, directory: Path, *command: str) -> tuple[Child, int]:
    server = site.processes.start(sys.executable, "-m", *command, PYTHONPATH=str(directory))
    server.wait_for_output("http://127.0.0.1:")
    found = re.search(r"http://127\.0\.0\.1:(\d+)", server.output)
    assert found is not None
    return server, int(found[1])


def pay(port: int, order: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", f"/pay/{order}", headers={"User-Agent": "a reader"})
        response = connection.getresponse()
        assert (response.status, b"thank you" in response.read()) == (200, True)
    finally:
        connection.close()


def assert_line_with_context(site: Site, order: int) -> None:
    site.worker()
    site.wait_for_lines(1)
    (line,) = read_lines(site.log)
    assert (line["name"], line["event"]) == ("shop.order.paid", {"order": order})
    assert (line["agent"], line["context"]["path"], line["ip"]) == ("a reader", f"/pay/{order}", "127.0.0.1")


@pytest.mark.parametrize(
    ("page", "number", "command"),
    [("asgi.md", 0, UVICORN), ("asgi.md", 1, UVICORN), ("wsgi.md", 0, GUNICORN), ("wsgi.md", 1, GUNICORN)],
    ids=["fastapi", "litestar", "flask", "bottle"],
)
def test_an_example_binds_the_request(site: Site, page: str, number: int, command: tuple[str, ...]) -> None:
    (site.directory / "app.py").write_text(blocks(page, "python")[number])
    server, port = serve(site, site.directory, *command)
    pay(port, 17)
    assert server.stop() in (0, -15)
    assert_line_with_context(site, 17)


@pytest.mark.parametrize("page", ["django.md", "../../README.md"])
def test_the_two_lines_of_django_bind_the_request(site: Site, page: str) -> None:
    site.processes.start(sys.executable, "-m", "django", "startproject", "app", str(site.directory)).succeed()
    settings, views, *_ = blocks(page, "py")
    with (site.directory / "app" / "settings.py").open("a") as file:
        file.write(settings + 'ALLOWED_HOSTS = ["127.0.0.1"]\n')
    (site.directory / "app" / "views.py").write_text(views)
    with (site.directory / "app" / "urls.py").open("a") as file:
        file.write("from app import views\nurlpatterns += [path('pay/<order>', views.pay)]\n")
    manage = str(site.directory / "manage.py")
    site.processes.start(sys.executable, manage, "check", "--fail-level", "WARNING").succeed()
    server, port = serve(site, site.directory, "gunicorn", "app.wsgi", *GUNICORN[2:])
    pay(port, 17)
    assert server.stop() == 0
    assert_line_with_context(site, 17)


def test_the_line_of_celery_takes_the_context_along(site: Site) -> None:
    source = blocks("celery.md", "py")[0].replace("redis://localhost/1", site.redis.url)
    (site.directory / "app.py").write_text(source)
    environ = {"PYTHONPATH": str(site.directory)}
    command = (
        "celery",
        "-A",
        "app",
        "worker",
        "--pool",
        "threads",
        "--without-mingle",
        "--without-gossip",
        "-Q",
        "shop",
    )
    worker = site.processes.start(sys.executable, "-m", *command, **environ)
    context = {"path": "/pay/17", "agent": "a reader", "ip": "127.0.0.1"}
    call = f"with tracker.context('request', {context}):\n    ship.apply_async((17,), queue='shop')"
    site.emitting(f"from app import ship\n{call}", **environ).succeed(60)
    site.worker()
    site.wait_for_lines(1)
    worker.stop()
    (line,) = read_lines(site.log)
    assert (line["name"], line["context"]["path"]) == ("shop.order.shipped", "/pay/17")
