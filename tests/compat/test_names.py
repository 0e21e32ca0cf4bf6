"""Every public name of trio-websocket, with its signature, its bases and its `repr`."""

from __future__ import annotations

import copy
import inspect
import pickle
import pydoc
import subprocess
import sys
from typing import Any, Final

import pytest
import trio_websocket as real

import trio_closeevents.compat.trio_websocket as stand_in

NAMES: Final = sorted(name for name, value in vars(real).items() if name[0] != "_" and not inspect.ismodule(value))
CLASSES: Final = [name for name in NAMES if inspect.isclass(getattr(real, name))]

IMPORT: Final = """
import sys
import trio_closeevents.compat.trio_websocket
print("trio_websocket" in sys.modules)
"""


def parameters_of(function: Any) -> list[tuple[str, Any, Any]]:
    return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]


def members_of(cls: Any) -> set[str]:
    return {name for name in dir(cls) if name[0] != "_"}


def test_every_name_is_there() -> None:
    """Nothing is missing, and nothing else is promised."""
    assert sorted(stand_in.__all__) == NAMES
    assert stand_in.__version__ == real.__version__ == "0.12.2"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in CLASSES])
def test_function_has_its_parameters(name: str) -> None:
    """Names, kinds and defaults, and whether it is awaited."""
    theirs, ours = getattr(real, name), getattr(stand_in, name)
    assert parameters_of(ours) == parameters_of(theirs)
    assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs)


@pytest.mark.parametrize("name", CLASSES)
def test_class_has_its_members(name: str) -> None:
    """Properties are read-only, methods have the same parameters; one member is new."""
    theirs, ours = getattr(real, name), getattr(stand_in, name)
    if not issubclass(theirs, Exception) or "__init__" in vars(theirs):
        assert parameters_of(ours) == parameters_of(theirs)
    new = {"close_event"} if name == "WebSocketConnection" else set()
    assert members_of(ours) == members_of(theirs) | new
    for member in members_of(theirs) & set(vars(theirs)):
        their, our = inspect.getattr_static(theirs, member), inspect.getattr_static(ours, member)
        assert isinstance(our, property) == isinstance(their, property), member
        if inspect.isfunction(their):
            assert parameters_of(our) == parameters_of(their), member


@pytest.mark.parametrize("name", [name for name in CLASSES if issubclass(getattr(real, name), Exception)])
def test_exception_has_its_bases(name: str) -> None:
    """What catches one of theirs catches one of ours."""
    theirs, ours = getattr(real, name), getattr(stand_in, name)
    assert [each.__name__ for each in ours.__mro__] == [each.__name__ for each in theirs.__mro__]


@pytest.mark.parametrize("name", NAMES)
def test_help_tells_something(name: str) -> None:
    """Of every name, and of every member."""
    value = getattr(stand_in, name)
    parts = [value, *(inspect.getattr_static(value, each) for each in members_of(value) & set(vars(value)))]
    for part in parts:
        if inspect.isclass(part) or inspect.isroutine(part) or isinstance(part, property):
            assert part.__doc__, part
    assert pydoc.render_doc(value)


def test_real_package_is_not_imported() -> None:
    """A program that has changed its import need not have it installed."""
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "False\n"


# -- values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code", [-1, 0, 999, *range(1000, 1017), 1999, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 10**6]
)
@pytest.mark.parametrize("reason", [None, "", "bye"])
def test_close_reason_names_its_code(code: int, reason: str | None) -> None:
    """The name, and the `repr` with it."""
    theirs, ours = real.CloseReason(code, reason), stand_in.CloseReason(code, reason)
    assert (ours.code, ours.name, ours.reason) == (theirs.code, theirs.name, theirs.reason)
    assert repr(ours) == str(ours) == repr(theirs)


def test_close_reason_is_equal_to_itself_only(library: Any) -> None:
    """And none of its attributes can be set."""
    reason = library.CloseReason(1000, "bye")
    assert reason == reason
    assert reason != library.CloseReason(1000, "bye")
    for name in ("code", "name", "reason"):
        with pytest.raises(AttributeError):
            setattr(reason, name, 1)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "2001:db8::1", 1])
@pytest.mark.parametrize("port", [0, 80, 443, 8000])
@pytest.mark.parametrize("is_ssl", [False, True])
def test_endpoint_has_a_url(address: str | int, port: int, is_ssl: bool) -> None:
    """Without the port of its scheme, and with brackets."""
    theirs, ours = real.Endpoint(address, port, is_ssl), stand_in.Endpoint(address, port, is_ssl)
    assert (ours.address, ours.port, ours.is_ssl, ours.url) == (theirs.address, port, is_ssl, theirs.url)
    assert repr(ours) == str(ours) == repr(theirs)


def test_endpoint_wants_an_ip_address(library: Any) -> None:
    """A name is none."""
    with pytest.raises(ValueError, match="localhost"):
        library.Endpoint("localhost", 80, False)


def test_exceptions_can_be_copied_and_pickled(library: Any) -> None:
    """With what they carry, and the same `repr`."""
    rejected = library.ConnectionRejected(404, ((b"a", b"b"),), b"c")
    for copied in (copy.copy(rejected), pickle.loads(pickle.dumps(rejected))):
        assert (copied.status_code, copied.headers, copied.body) == (404, ((b"a", b"b"),), b"c")
        assert repr(copied) == "ConnectionRejected<status_code=404>"
    reason = library.CloseReason(4001, "bye")
    closed = copy.copy(library.ConnectionClosed(reason))
    assert closed.reason is reason
    assert repr(closed) == "ConnectionClosed<CloseReason<code=4001, name=PRIVATE_RESERVED, reason=bye>>"
    assert str(closed) == repr(reason)
    for name in ("HandshakeError", "ConnectionTimeout", "DisconnectionTimeout"):
        assert isinstance(copy.copy(getattr(library, name)()), library.HandshakeError)
    assert not issubclass(library.ConnectionClosed, library.HandshakeError)
