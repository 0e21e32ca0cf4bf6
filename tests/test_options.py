"""The options that `connect`, `serve`, `open_server` and `accept` have in common."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable
from typing import Any, Final, get_type_hints

import pytest

from trio_closeevents import ClosePolicy, Options, __version__, accept, connect, open_server, serve
from trio_closeevents._options import MEANT, OptionsDict, takes_options

DEFAULTS: Final = {
    "max_message_size": 2**20,
    "max_fragments": 2**17,
    "max_queue": 64,
    "max_queue_bytes": 2**20,
    "open_timeout": 10,
    "close_timeout": 10,
    "cancel_timeout": 1,
    "ping_interval": 20,
    "ping_timeout": 20,
    "compression": None,
    "extensions": (),
    "answer_pings": True,
    "policy": ClosePolicy(),
    "cancel_on_close": False,
    "observer": None,
}
LIMITS: Final = {"max_message_size": 0, "max_fragments": 1, "max_queue": 1, "max_queue_bytes": 1}
TIMEOUTS: Final = {"open_timeout": False, "close_timeout": True, "cancel_timeout": True}  # must it be finite?

OF_A_SERVER: Final[dict[str, Any]] = {
    "origins": None,
    "subprotocols": (),
    "select_subprotocol": None,
    "headers": (),
    "server_header": f"trio-closeevents/{__version__}",
    "process_request": None,
    "process_response": None,
    "on_close": None,
    "trusted_proxies": None,
}
LIMITS_OF_A_SERVER: Final = dict.fromkeys(("max_connections", "max_connections_per_address", "max_handshakes"))
OWN: Final[dict[Callable[..., Any], dict[str, Any]]] = {
    connect: {
        "stream": None,
        "address": None,
        "proxy": True,
        "ssl_context": None,
        "proxy_ssl_context": None,
        "server_hostname": None,
        "subprotocols": (),
        "headers": (),
        "origin": None,
        "user_agent": f"trio-closeevents/{__version__}",
        "auth": None,
        "cookies": None,
        "max_redirects": 10,
    },
    accept: {"ssl_context": None, **OF_A_SERVER},
    open_server: {"listen": (), "ssl_context": None, **LIMITS_OF_A_SERVER, **OF_A_SERVER},
    serve: {"listen": (), "ssl_context": None, **LIMITS_OF_A_SERVER, "task_status": ..., **OF_A_SERVER},
}


def make(name: str, value: object) -> Options:
    arguments: dict[str, Any] = {name: value}
    return Options(**arguments)


def test_options_have_the_promised_defaults() -> None:
    """Every option and its default is as the documentation has it."""
    assert {each.name: getattr(Options(), each.name) for each in dataclasses.fields(Options)} == DEFAULTS


def test_options_let_a_message_of_65536_fragments_through() -> None:
    """The default limit is above what peers are known to send."""
    limit = Options().max_fragments
    assert limit is not None
    assert limit >= 65536


@pytest.mark.parametrize("name", LIMITS)
def test_limit_takes_its_least_value_and_none(name: str) -> None:
    """A limit may be as small as makes sense; `None` is no limit."""
    for value in (LIMITS[name], LIMITS[name] + 1, 10**12, None):
        assert getattr(make(name, value), name) == value


@pytest.mark.parametrize("below", [1, 2, 10**6])
@pytest.mark.parametrize("name", LIMITS)
def test_limit_below_its_least_value_names_option_value_and_rule(name: str, below: int) -> None:
    """One less is a `ValueError`."""
    value = LIMITS[name] - below
    with pytest.raises(ValueError) as caught:
        make(name, value)

    assert str(caught.value) == f"{name} must be at least {LIMITS[name]}, or None for no limit, not {value}"


@pytest.mark.parametrize("name", ["ping_interval", "ping_timeout"])
def test_period_is_positive_and_finite_or_none(name: str) -> None:
    """Keepalive is turned off by `None`, not by zero."""
    for value in (0.001, 20, None):
        assert getattr(make(name, value), name) == value
    for value in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"{name} must be more than 0 and finite, or None to turn it off, not "):
            make(name, value)
    for wrong in ("20", True, (20,)):
        with pytest.raises(TypeError, match=f"{name} must be a number of seconds or None, not {type(wrong).__name__}"):
            make(name, wrong)


@pytest.mark.parametrize("value", ["16", 16.0, True, False, (16,), math.inf], ids=str)
@pytest.mark.parametrize("name", LIMITS)
def test_limit_of_a_wrong_type_names_option_value_and_rule(name: str, value: Any) -> None:
    """A limit counts: it is an `int` or `None`."""
    with pytest.raises(TypeError) as caught:
        make(name, value)

    assert str(caught.value) == f"{name} must be an int or None, not {type(value).__name__}: {value!r}"


@pytest.mark.parametrize("value", [0, 0.0, 0.25, 3, 10**9])
@pytest.mark.parametrize("name", TIMEOUTS)
def test_timeout_takes_zero_and_any_seconds(name: str, value: float) -> None:
    """Whole and broken seconds, and none."""
    assert getattr(make(name, value), name) == value


@pytest.mark.parametrize("value", [-1, -0.001, -math.inf, math.nan])
@pytest.mark.parametrize("name", TIMEOUTS)
def test_timeout_that_is_no_duration_names_option_value_and_rule(name: str, value: float) -> None:
    """Less than nothing, and what is no number, are a `ValueError`."""
    rule = "finite and not negative" if TIMEOUTS[name] else "not negative"
    with pytest.raises(ValueError) as caught:
        make(name, value)

    assert str(caught.value) == f"{name} must be {rule}, not {value}"


@pytest.mark.parametrize("name", TIMEOUTS)
def test_only_the_opening_may_take_for_ever(name: str) -> None:
    """The ending has a bound, always; the opening may have none."""
    if TIMEOUTS[name]:
        with pytest.raises(ValueError, match=f"{name} must be finite and not negative, not inf"):
            make(name, math.inf)
    else:
        assert getattr(make(name, math.inf), name) == math.inf


@pytest.mark.parametrize("value", ["10", None, True, (10,), 1j], ids=str)
@pytest.mark.parametrize("name", TIMEOUTS)
def test_timeout_of_a_wrong_type_names_option_value_and_rule(name: str, value: Any) -> None:
    """A timeout is a number of seconds."""
    with pytest.raises(TypeError) as caught:
        make(name, value)

    assert str(caught.value) == f"{name} must be a number of seconds, not {type(value).__name__}: {value!r}"


@pytest.mark.parametrize("value", [None, {}, {ValueError: 4000}, ClosePolicy, 1000], ids=str)
def test_policy_of_a_wrong_type_names_option_value_and_rule(value: Any) -> None:
    """A policy is made by `ClosePolicy`, which checks it; a bare table is none."""
    with pytest.raises(TypeError) as caught:
        Options(policy=value)

    assert str(caught.value) == f"policy must be a ClosePolicy, not {type(value).__name__}: {value!r}"


@pytest.mark.parametrize("value", [None, 0, 1, "yes"], ids=str)
def test_cancel_on_close_of_a_wrong_type_names_option_value_and_rule(value: Any) -> None:
    """A switch is `True` or `False`."""
    with pytest.raises(TypeError) as caught:
        Options(cancel_on_close=value)

    assert str(caught.value) == f"cancel_on_close must be a bool, not {value!r}"


def test_options_are_a_value_made_by_keyword() -> None:
    """Equal by value, frozen, and nobody has to know their order."""
    assert Options(max_queue=1) == Options(max_queue=1)
    assert Options(max_queue=1) != Options(max_queue=2)
    assert hash(Options()) == hash(Options())
    with pytest.raises(dataclasses.FrozenInstanceError):
        Options().max_queue = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        Options(2**20)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="colour"):
        Options(colour=1)  # type: ignore[call-arg]


def test_options_dict_is_options_as_keywords() -> None:
    """What a type checker lets through as keyword is just what `Options` has, name by name and type by type."""
    assert get_type_hints(OptionsDict) == get_type_hints(Options)
    assert OptionsDict.__total__ is False


@pytest.mark.parametrize("function", OWN, ids=lambda function: function.__name__)
def test_signature_shows_every_option_with_its_default(function: Callable[..., Any]) -> None:
    """`help()` and editors show what can be given, by keyword only, in place of `**options`."""
    parameters = inspect.signature(function).parameters
    keywords = {name: each for name, each in parameters.items() if each.kind is inspect.Parameter.KEYWORD_ONLY}

    assert list(keywords) == [*OWN[function], *DEFAULTS]
    assert inspect.Parameter.VAR_KEYWORD not in {each.kind for each in parameters.values()}
    for name, default in {**OWN[function], **DEFAULTS}.items():
        if default is not ...:
            assert keywords[name].default == default, name
    assert {name: keywords[name].annotation for name in DEFAULTS} == {
        each.name: each.type for each in dataclasses.fields(Options)
    }


UNKNOWN: Final[list[tuple[Callable[..., Any], str, str | None]]] = [
    *((function, "max_mesage_size", "did you mean max_message_size?") for function in OWN),
    *((function, "extra_headers", "use headers") for function in OWN),
    *((function, "additional_headers", "use headers") for function in OWN),
    *((function, "ssl", "use ssl_context") for function in OWN),
    *((function, "max_size", "use max_message_size") for function in OWN),
    *((function, "timeout", "use open_timeout") for function in OWN),
    *((function, "message_queue_size", "use max_queue") for function in OWN),
    *((function, "disconnect_timeout", "use close_timeout") for function in OWN),
    (connect, "sock", "use stream=trio.SocketStream(...)"),
    (connect, "host", "use address=(host, port)"),
    (connect, "path", "use address=path"),
    (connect, "user_agent_header", "use user_agent"),
    (connect, "origins", "did you mean origin?"),
    (serve, "sock", "use listen=[Listen(sock)]"),
    (open_server, "path", "use listen=[Listen(path)]"),
    (open_server, "reuse_port", "use listen=[Listen(..., reuse_port=True)]"),
    (accept, "backlog", None),
    (connect, "colour", None),
]


@pytest.mark.parametrize(("function", "name", "hint"), UNKNOWN)
def test_unknown_option_is_refused_at_the_call(function: Callable[..., Any], name: str, hint: str | None) -> None:
    """A `TypeError` that names the function and the option, and what other libraries call so, or what is near it."""
    positional = {connect: ("ws://h",), accept: (None,)}.get(function, (print, None, 0))
    with pytest.raises(TypeError) as caught:
        function(*positional, **{name: 1}).send(None)  # `serve` is a coroutine function: its call is its first step
    text = f"{function.__name__}() got an unexpected keyword argument {name!r}"
    assert str(caught.value) == (text if hint is None else f"{text}: {hint}")


def test_names_of_others_lead_to_options_that_there_are() -> None:
    """Each for a function at least that has no option by that name itself."""
    known = {function: inspect.signature(function).parameters for function in OWN}
    for name, spellings in MEANT.items():
        for spelling in spellings:
            assert any(spelling.partition("=")[0] in each and name not in each for each in known.values()), name


def test_takes_options_keeps_what_a_function_has_itself() -> None:
    """Only the `**options` of a function is spelled out; it is the same function."""

    def function(url: str, *, own: int = 1, **options: Any) -> None: ...

    assert takes_options(function) is function
    parameters = inspect.signature(function).parameters
    assert list(parameters) == ["url", "own", *DEFAULTS]
    assert parameters["own"].default == 1
