"""The fixtures of the pytest plugin, in a project of a user."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import pytest
from trio_closeevents import connect

{mark}
async def test_pair(websocket_pair):
    client, server = websocket_pair
    await client.send("hi")
    assert await server.receive() == "hi"

{mark}
async def test_echo(echo_server):
    async with connect(echo_server.url) as ws:
        await ws.send("hi")
        assert await ws.receive() == "hi"
        assert len(echo_server.server.connections) == 1

{mark}
async def test_both_and_again(echo_server, websocket_pair):
    async with connect(echo_server.url) as ws:
        await websocket_pair.client.aclose(4000)
        assert websocket_pair.server.close_event.code == 4000
"""


def test_fixtures_work_in_trio_mode(pytester: pytest.Pytester) -> None:
    """Async tests just ask for them."""
    pytester.makeini("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")
    pytester.makepyfile(TESTS.format(mark=""))
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=3)


def test_fixtures_work_with_marks(pytester: pytest.Pytester) -> None:
    """Without trio_mode, tests are marked as pytest-trio has it."""
    pytester.makepyfile(TESTS.format(mark="@pytest.mark.trio"))
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=3)


def test_fixtures_are_listed_with_their_docs(pytester: pytest.Pytester) -> None:
    """`pytest --fixtures` tells what they are."""
    result = pytester.runpytest_inprocess("--fixtures", "-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(
        ["*websocket_pair*", "*Two connected WebSockets in memory*", "*echo_server*", "*A server on a real socket*"],
    )


def test_fixture_without_pytest_trio_says_what_to_install(pytester: pytest.Pytester) -> None:
    """It is only needed by those who ask for a fixture, and they are told."""
    pytester.makeconftest(
        """
        import sys
        sys.modules["pytest_trio"] = None
        from trio_closeevents.testing.pytest_plugin import trio_fixture

        @trio_fixture
        async def websocket_pair():
            yield None
        """
    )
    pytester.makepyfile("def test_pair(websocket_pair): ...\ndef test_other(): ...")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*the fixture websocket_pair needs pytest-trio: pip install 'trio-closeevents[[]testing[]]'"]
    )
