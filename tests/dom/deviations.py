"""Where `dom.WebSocket` does not do what Chromium did: the rules, the situations, and what it does instead.

One table, for the test and for the docs.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final, NamedTuple

__all__ = ["DEVIATIONS", "Rule", "as_rst"]

Seen = dict[str, Any]
Scenario = dict[str, Any]

ERROR: Final = {"type": "error", "ctor": "Event", "readyState": 3}
ABNORMAL: Final = {"code": 1006, "reason": "", "wasClean": False}


class Rule(NamedTuple):
    """Why some situations end otherwise, and how."""

    title: str
    chromium: str
    here: str
    why: str
    scenarios: frozenset[str]
    instead: Callable[[Scenario, Seen], list[Seen]]


def with_error(seen: Seen) -> Seen:
    """Put the event `error` before `close`."""
    changed = deepcopy(seen)
    changed["events"].insert(-1, dict(ERROR))
    return changed


def with_end(seen: Seen, **fields: Any) -> Seen:
    """Change what the event `close` says."""
    changed = deepcopy(seen)
    changed["events"][-1] |= fields
    return changed


def close_of_server(scenario: Scenario) -> dict[str, Any]:
    """Return what a clean event says of the server's Close."""
    steps = scenario["script"]["server"]
    piece = next(piece for verb, *pieces in steps if verb == "send" for piece in pieces if piece[0] == "close")
    return {"code": piece[1], "reason": "".join(piece[2:]), "wasClean": True}


def loss_is_an_error(_: Scenario, seen: Seen) -> list[Seen]:
    return [with_error(seen)]


def code_is_forbidden(_: Scenario, seen: Seen) -> list[Seen]:
    changed = with_error(with_end(seen, **ABNORMAL))
    closed_first = any(call["code"].startswith("ws.close") for call in seen["calls"])
    frames = seen["saw"]["close_frames"] if closed_first else ["03ea"]
    changed["saw"] |= {"close_frames": frames, "first": "client"}
    return [changed]


def what_follows_is_ignored(scenario: Scenario, seen: Seen) -> list[Seen]:
    changed = with_end(seen, **close_of_server(scenario))
    changed["events"] = [event for event in changed["events"] if event["type"] != "error"]
    changed["saw"]["first"] = "server"
    return [changed]


def reset_is_late(_: Scenario, seen: Seen) -> list[Seen]:
    if seen["events"][-1]["code"] == 1006:  # the reset came before our answer was written, or before it was read
        return [with_error(seen)]
    return [with_end(seen, wasClean=True), seen]


def payload_is_invalid(_: Scenario, seen: Seen) -> list[Seen]:
    changed = deepcopy(seen)
    changed["saw"]["close_frames"] = ["03ef"]
    return [changed]


def length_is_awaited(_: Scenario, seen: Seen) -> list[Seen]:
    changed = with_error(seen)
    changed["saw"]["first"] = "server"
    return [changed]


def is_relative(_: Scenario, __: Seen) -> list[Seen]:
    threw = {"ctor": "DOMException", "name": "SyntaxError", "code": 12}
    return [{"events": [], "calls": [{"type": "constructor_threw", "threw": threw}], "saw": None}]


def closes_at_once(code: int, reason: str = "") -> Callable[[Scenario, Seen], list[Seen]]:
    """Chromium has refused the first call, and a second one closed 100 ms later."""

    def change(_: Scenario, seen: Seen) -> list[Seen]:
        changed = with_end(seen, code=code, reason=reason)
        for call in changed["calls"]:
            call.pop("threw", None)
            call["readyState"] = 2
        changed["saw"]["close_frames"] = [code.to_bytes(2).hex() + reason.encode().hex()]
        return [changed]

    return change


def is_refused(_: Scenario, seen: Seen) -> list[Seen]:
    """The server waits for a Close in vain, and hangs up."""
    changed = with_error(with_end(seen, **ABNORMAL))
    threw = {"ctor": "DOMException", "name": "InvalidAccessError", "code": 15}
    changed["calls"][0] |= {"threw": threw, "readyState": 1}
    changed["saw"]["close_frames"] = []
    return [changed]


def message_is_whole(_: Scenario, seen: Seen) -> list[Seen]:
    changed = with_end(seen, wasClean=True, bufferedAmount=0)
    changed["saw"]["other_frames_bytes"] = 62914560
    return [changed]


CONVERSIONS: Final = {
    "ws.close(999.5)": closes_at_once(1000),
    "ws.close(2999.51)": closes_at_once(3000),
    "ws.close(undefined,'bye')": closes_at_once(1000, "bye"),
    "ws.close(undefined,'')": closes_at_once(1000),
    "ws.close(1000n)": closes_at_once(1000),
    "ws.close(1000.51)": is_refused,
}


def is_converted(scenario: Scenario, seen: Seen) -> list[Seen]:
    return CONVERSIONS[seen["calls"][0]["code"]](scenario, seen)


DEVIATIONS: Final = (
    Rule(
        "A lost transport is an error",
        "FIN or RST without a Close frame: `close` alone",
        "`error` before `close`",
        "WHATWG WebSockets §4: the user agent was required to fail the connection",
        frozenset(
            {
                "srv_fin_after_open",
                "srv_drop_after_open",
                "srv_rst_after_open",
                "srv_fin_after_message",
                "srv_rst_after_message",
                "srv_fin_mid_close_frame",
                "srv_drop_unread_client_data",
                "cli_close__srv_fin",
                "cli_close__srv_rst",
                "cli_close_1000__srv_rst",
                "cli_close_1000_bye__srv_rst",
                "cli_close_3000__srv_fin",
                "cli_close_3000__srv_rst",
                "cli_close_4999_x__srv_rst",
                "both_js_busy_fin_only",
                "cli_buffered_unread_srv_fin",
                "proto_len64_2gb_less_1",
                "tls_fin_no_notify",
                "tls_notify_no_close",
            }
        ),
        loss_is_an_error,
    ),
    Rule(
        "Close codes that RFC 6455 forbids",
        "takes every code but 1005, 1006 and 1015, and echoes it",
        "fails the connection: Close 1002, `error`, 1006",
        "RFC 6455 §7.4: codes below 1000, 1004, 1016-2999 and from 5000 are not for Close frames",
        frozenset(
            {
                "srv_close_0",
                "srv_close_999",
                "srv_close_1004",
                "srv_close_1999",
                "srv_close_5000",
                "srv_close_32768",
                "srv_close_65535",
                "cli_close_3333__srv_answers_999",
            }
        ),
        code_is_forbidden,
    ),
    Rule(
        "Frames behind a Close",
        "`error` and 1006, though the Close was answered",
        "are ignored; the event says what the Close said",
        "RFC 6455 §1.4 and §5.5.1: further data is discarded",
        frozenset({"order_close_then_text_later", "order_close_then_ping", "order_cli_close_then_srv_text"}),
        what_follows_is_ignored,
    ),
    Rule(
        "RST behind a Close",
        "`wasClean` is false",
        "`wasClean` is true once both Close frames have travelled; if the reset was faster, as for a lost transport",
        "RFC 6455 §7.1.4: closed cleanly means that the closing handshake was completed",
        frozenset(
            {
                "cli_close_1000__srv_echo_and_rst",
                "cli_close_1000__srv_echo_sleep_rst",
                "cli_send_close__srv_reads_nothing_closes",
                "srv_close_1000_then_rst",
            }
        ),
        reset_is_late,
    ),
    Rule(
        "Conversions of arguments",
        "cuts fractions off; takes a missing code beside a reason for 0; has big integers",
        "rounds to the nearest, half to even; sends 1000 with a reason that has no code; `int` is any integer",
        "Web IDL, `[Clamp] unsigned short`: 999.5 is 1000, 1000.51 is 1001; Python has one type of integers",
        frozenset(
            {
                "cli_bad_call_999_5",
                "cli_bad_call_2999_51",
                "cli_bad_call_undefined_reason",
                "cli_bad_call_undefined_empty",
                "cli_bad_call_bigint",
                "cli_call_1000_51",
            }
        ),
        is_converted,
    ),
    Rule(
        "1007 in place of 1002",
        "sends Close 1002 for text that is no UTF-8, and for corrupt compressed data",
        "sends 1007; the page's event is the same",
        "RFC 6455 §7.4.1: 1007 is for data that is not consistent with the type of the message",
        frozenset(
            {
                "srv_close_reason_bad_utf8",
                "srv_close_reason_surrogate",
                "srv_close_reason_overlong",
                "proto_utf8_invalid",
                "proto_utf8_overlong",
                "proto_utf8_cut_last_fragment",
                "proto_deflate_garbage",
            }
        ),
        payload_is_invalid,
    ),
    Rule(
        "Relative URLs",
        "are resolved against the page's",
        "`SyntaxError`",
        "WHATWG URL: there is no base URL outside a page",
        frozenset({"ctor_relative"}),
        is_relative,
    ),
    Rule(
        "Frames of 2 GiB and more",
        "drops the connection without a word",
        "waits for them, unless `max_message_size` says otherwise; then Close 1009, `error`, 1006",
        "RFC 6455 §5.2: a length has up to 63 bits",
        frozenset({"proto_len64_2gb", "proto_len64_3gb"}),
        length_is_awaited,
    ),
    Rule(
        "A message under way when the server closes",
        "is broken off between two fragments, `wasClean` is false",
        "is sent whole, then the Close; clean if the server reads it within `close_timeout`",
        "RFC 6455 §5.5.1: an endpoint may delay its Close until its current message is sent; here it is one frame",
        frozenset({"cli_buffered_unread_srv_close_reads_later"}),
        message_is_whole,
    ),
)


def as_rst() -> str:
    """Return the table for the docs."""
    rows = [".. list-table::", "    :header-rows: 1", "    :widths: 18 26 28 28", ""]
    for row in [("situation", "Chromium", "here", "why"), *(rule[:4] for rule in DEVIATIONS)]:
        rows += [f"    {'* -' if not at else '  -'} {text}" for at, text in enumerate(row)]
    return "\n".join([*rows, ""])
