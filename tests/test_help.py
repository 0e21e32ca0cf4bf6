"""`help()`, `python -m pydoc`, and editors that ask the running program: of every public name they show what is useful.

Public is each module without a leading underscore, what its `__all__` has, and what the classes among that have. All of
these are found, not listed: a new module is looked at as soon as it is there.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import pkgutil
import pydoc
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from types import ModuleType
from typing import Any, Final, get_type_hints

import pytest

import trio_closeevents
from trio_closeevents import CloseCause, CloseEvent, ConnectionBroken, connect, dom, testing
from trio_closeevents.dom import InvalidStateError
from trio_closeevents.testing import NotOpened, open_websocket_pair

pytestmark = pytest.mark.once

PREFIX: Final = "trio_closeevents."
# Fields that its docstring says are not for the public.
NOT_NAMED: Final = {"CancelledRun"}


def public_modules() -> Iterator[ModuleType]:
    """Yield the package, and every module in it that may be imported by name."""
    yield trio_closeevents
    for each in pkgutil.walk_packages(trio_closeevents.__path__, PREFIX):
        if not any(part.startswith("_") for part in each.name.split(".")):
            yield importlib.import_module(each.name)


MODULES: Final = {module.__name__: module for module in public_modules()}
NAMES: Final = {
    f"{module.__name__}.{name}".removeprefix(PREFIX): (module, getattr(module, name))
    for module in MODULES.values()
    for name in module.__all__
}


def has_help(value: object) -> bool:
    """Return whether there is a docstring to be expected: other values have their type's."""
    return inspect.isclass(value) or inspect.isroutine(value)


HELPED: Final = {name: value for name, (_, value) in NAMES.items() if has_help(value)}
CLASSES: Final = {name: value for name, value in HELPED.items() if inspect.isclass(value)}
VALUES: Final[dict[str, Any]] = {name: cls for name, cls in CLASSES.items() if is_dataclass(cls)}


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that *cls* has from this library, those of its private bases too."""
    for each in inspect.classify_class_attrs(cls):
        is_ours = each.defining_class.__module__.startswith(PREFIX.rstrip("."))
        if is_ours and not each.name.startswith("_") and each.kind != "data":
            found: Any = each.object
            yield each.name, found.__func__ if each.kind.endswith(" method") else found


MEMBERS: Final = {f"{name}.{each}": value for name, cls in CLASSES.items() for each, value in members(cls)}


def check_docstring(text: str | None, name: str) -> None:
    assert text, f"{name} has no docstring"
    last = name.rpartition(".")[2]
    assert not text.startswith(f"{last}("), "that is the signature which dataclasses put there"
    first = inspect.cleandoc(text).split("\n\n")[0]
    assert first.endswith((".", ":", "...`.")), f"the docstring of {name} begins with no sentence: {first!r}"


def check_signature(value: Any) -> None:
    signature = str(inspect.signature(value))
    assert "Unpack[" not in signature
    assert "(*args, **kwargs)" not in signature


def test_every_public_name_is_found() -> None:
    """So that the tests below are about something."""
    assert {"trio_closeevents", "trio_closeevents.dom", "trio_closeevents.testing.pytest_plugin"} <= set(MODULES)
    assert len(NAMES) > 90
    assert len(MEMBERS) > 190
    assert {"connect", "testing.frame", "dom.WebSocket", "testing.pytest_plugin.EchoServer"} <= set(HELPED)
    assert {"WebSocket.send", "WebSocket.close_event", "CloseEvent.from_dict", "Server.port"} <= set(MEMBERS)


@pytest.mark.parametrize("name", MODULES)
def test_module_says_what_it_is_for(name: str) -> None:
    """And the package's own help leads to each."""
    check_docstring(MODULES[name].__doc__, name)
    assert name == "trio_closeevents" or f"`{name}`" in str(trio_closeevents.__doc__)


@pytest.mark.parametrize("name", HELPED)
def test_help_shows_a_docstring_of_its_own(name: str) -> None:
    """It is not inherited, and is what `pydoc` shows."""
    value = HELPED[name]
    text = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    check_docstring(text, name)
    shown = pydoc.plain(pydoc.render_doc(value))
    assert inspect.cleandoc(text or "").split("\n")[0] in shown


@pytest.mark.parametrize("name", [name for name in NAMES if name not in HELPED])
def test_value_is_explained_where_it_is_imported_from(name: str) -> None:
    """A number or an alias cannot have a docstring, so that of its module names it."""
    module, _ = NAMES[name]

    assert f"`{name.rpartition('.')[2]}`" in str(module.__doc__)


@pytest.mark.parametrize("name", HELPED)
def test_signature_hides_nothing(name: str) -> None:
    """Every option has its name and its default. Exceptions, dictionaries and protocols may have that of their kind."""
    value = HELPED[name]
    own = "__init__" in vars(value) or "__new__" in vars(value) if inspect.isclass(value) else True
    if not own and issubclass(value, BaseException | dict):
        return
    if not getattr(value, "_is_protocol", False):
        check_signature(value)


@pytest.mark.parametrize("name", MEMBERS)
def test_member_has_a_docstring_of_its_own(name: str) -> None:
    """Every public method and property, also where it is one that trio or the standard library asks for."""
    value = MEMBERS[name]
    if inspect.ismemberdescriptor(value) or inspect.isgetsetdescriptor(value):
        return  # a field, which the docstring of the class has
    check_docstring(value.__doc__, name)
    shown = pydoc.plain(pydoc.render_doc(value))
    assert inspect.cleandoc(value.__doc__).split("\n")[0] in shown
    if inspect.isroutine(value):
        check_signature(value)


@pytest.mark.parametrize("name", VALUES)
def test_fields_are_explained(name: str) -> None:
    """The docstring of a value names each of its fields: `help()` has no other place for them."""
    cls = VALUES[name]
    named = str(cls.__doc__)
    public = [each.name for each in fields(cls) if not each.name.startswith("_")]
    missing = [each for each in public if f"{each}:" not in named and f"{each}," not in named]

    assert missing == [] or name.rpartition(".")[2] in NOT_NAMED


def test_causes_are_explained() -> None:
    """Members of an enumeration have no docstring; that of the class tells what each means."""
    assert issubclass(CloseCause, enum.Enum)
    assert [cause.name for cause in CloseCause if f"`{cause.name}`" not in str(CloseCause.__doc__)] == []


def test_options_have_the_defaults_of_where_they_are() -> None:
    """A browser's in `dom`, those of `Options` elsewhere; what may not be given there is not shown."""
    core, browser = inspect.signature(connect).parameters, inspect.signature(dom.WebSocket).parameters
    stream, pair = inspect.signature(dom.WebSocketStream).parameters, inspect.signature(open_websocket_pair).parameters

    assert (core["close_timeout"].default, browser["close_timeout"].default) == (10, 60)
    assert (core["compression"].default, stream["compression"].default) == (None, "deflate")
    assert pair["close_timeout"] == core["close_timeout"]
    assert not {"subprotocols", "max_redirects", "cancel_on_close", "options"} & set(browser)
    assert [*browser][:3] == ["url", "protocols", "nursery"]


def test_traceback_names_what_programs_import() -> None:
    """`trio_closeevents.ConnectionBroken`, and not the module that it is written in."""
    for error, start in [
        (ConnectionBroken(), "trio_closeevents.ConnectionBroken"),
        (NotOpened("no"), "trio_closeevents.testing.NotOpened: no"),
        (InvalidStateError("no"), "trio_closeevents.dom.InvalidStateError: no"),
    ]:
        assert "".join(traceback.format_exception_only(error)).startswith(start)
    assert connect.__module__ == "trio_closeevents"
    assert testing.frame.__module__ == "trio_closeevents.testing"
    assert testing.draw.__module__ == "trio_closeevents.diagram"


@pytest.mark.parametrize("name", VALUES)
def test_annotations_of_a_value_can_be_looked_up(name: str) -> None:
    """What makes JSON or a form of a value asks for the types of its fields, and finds them."""
    assert {each.name for each in fields(VALUES[name])} <= set(get_type_hints(VALUES[name]))


def test_pydoc_of_the_package() -> None:
    """As a person has it: a page for each, nothing on stderr."""
    command = [sys.executable, "-W", "error", "-m", "pydoc", "trio_closeevents"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, encoding="utf-8")

    assert (done.returncode, done.stderr) == (0, "")
    assert f"    {str(trio_closeevents.__doc__).splitlines()[2]}\n" in done.stdout
    assert str(CloseEvent.__doc__).splitlines()[0] in done.stdout
    assert "ConnectionBroken(ConnectionClosed, trio.BrokenResourceError)" in done.stdout  # without private modules
