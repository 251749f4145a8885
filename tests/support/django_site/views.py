"""Views of the project, each sync and, with /async/ before it, async."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from django.contrib.auth import alogin, alogout, get_user_model, login, logout
from django.db import transaction
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import include, path

from dispatcher import tracker
from dispatcher.contrib.django import bind_user, emit_on_commit


def show(request: HttpRequest) -> HttpResponse:
    tracker.emit("shop.seen", {"body": request.body.decode()})
    return HttpResponse("ok")


async def ashow(request: HttpRequest) -> HttpResponse:
    return show(request)


def look(request: HttpRequest) -> HttpResponse:
    tracker.emit("shop.seen", {"who": request.user.get_username()})
    return HttpResponse("ok")


async def alook(request: HttpRequest) -> HttpResponse:
    tracker.emit("shop.seen", {"who": (await request.auser()).get_username()})
    return HttpResponse("ok")


def sign_in(request: HttpRequest) -> HttpResponse:
    login(request, get_user_model().objects.get(username="ada"))
    tracker.emit("shop.in")
    logout(request)
    tracker.emit("shop.out")
    bind_user(get_user_model().objects.get(username="ada"))
    tracker.emit("shop.bound")
    return HttpResponse("ok")


async def asign_in(request: HttpRequest) -> HttpResponse:
    ada = await get_user_model().objects.aget(username="ada")
    await alogin(request, ada)
    bind_user(ada)
    tracker.emit("shop.in")
    await alogout(request)
    bind_user(None)
    tracker.emit("shop.out")
    bind_user(ada)
    tracker.emit("shop.bound")
    return HttpResponse("ok")


def fail(request: HttpRequest) -> HttpResponse:
    tracker.emit("shop.seen")
    raise RuntimeError("of the view")


async def afail(request: HttpRequest) -> HttpResponse:
    return fail(request)


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def body() -> Iterator[str]:
        tracker.emit("shop.first")
        yield "o"
        with tracker.context("part", {"part": 2}):
            yield "k"
            tracker.emit("shop.second")

    return StreamingHttpResponse(body())


async def astream(request: HttpRequest) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[str]:
        tracker.emit("shop.first")
        yield "o"
        with tracker.context("part", {"part": 2}):
            yield "k"
            tracker.emit("shop.second")

    return StreamingHttpResponse(body())


def file(request: HttpRequest) -> FileResponse:
    return FileResponse(open(__file__, "rb"))


def pay(request: HttpRequest) -> HttpResponse:
    data: dict[str, object] = {"lines": [1]}
    with transaction.atomic():
        emit_on_commit("shop.paid", data)
        data["lines"] = [2]
        tracker.emit("shop.before")
        if request.GET.get("broken"):
            transaction.set_rollback(True)
    return HttpResponse("ok")


_SYNC = {"show": show, "look": look, "sign-in": sign_in, "fail": fail, "stream": stream, "file": file, "pay": pay}
_ASYNC = {"show": ashow, "look": alook, "sign-in": asign_in, "fail": afail, "stream": astream}
urlpatterns = [path(name, view) for name, view in _SYNC.items()]
urlpatterns += [path(f"async/{name}", view) for name, view in _ASYNC.items()]
urlpatterns += [path("", include("dispatcher.contrib.openedx.urls"))]
