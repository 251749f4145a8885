"""Context: carries what is bound here to where Python does not carry it by itself.

``asyncio.to_thread`` and asyncio's tasks take a context along; ``threading.Thread``, executors and ``run_in_executor``
do not (https://docs.python.org/3/library/contextvars.html).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar, cast

from dispatcher.emit.context import context, current, enter_context, exit_context, replace_context

__all__ = ["context", "enter_context", "exit_context", "wrap"]

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
# What functools.partial and bound methods of C code do not have.
_COPIED: Final = [name for name in functools.WRAPPER_ASSIGNMENTS if name != "__annotations__"]


def wrap(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """A function that runs with the context of now, wherever and whenever it is called.

        executor.map(dispatcher.context.wrap(grade), answers)

    What the function binds stays inside it. Does not block. What is returned may be called as often as you like, by
    several threads at once, and after a fork.

    Args:
        function: Any function; of a coroutine function a coroutine function is made.

    Returns:
        It takes the same arguments, and returns and raises what the function does.
    """
    bound = current()
    if inspect.iscoroutinefunction(function):

        async def run_coroutine(*args: Any, **kwargs: Any) -> Any:
            before = replace_context(bound)
            try:
                return await function(*args, **kwargs)
            finally:
                replace_context(before)

        return cast("Callable[_Arguments, _Result]", functools.update_wrapper(run_coroutine, function, _COPIED))

    def run(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        before = replace_context(bound)
        try:
            return function(*args, **kwargs)
        finally:
            replace_context(before)

    return functools.update_wrapper(run, function, _COPIED)
