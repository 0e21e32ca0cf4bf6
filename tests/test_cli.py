"""The command line as a whole: its commands, and what it does when it cannot work."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from terminals import COMMAND, environment, run

from trio_closeevents import __main__, __version__
from trio_closeevents._cli import app
from trio_closeevents._cli.app import commands
from trio_closeevents._cli.output import Output, read_some
from trio_closeevents._cli.show import console_of, report

pytestmark = [pytest.mark.once, pytest.mark.measured]  # processes take their time, on every Python


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
async def test_help_lists_the_commands(arguments: list[str]) -> None:
    """Without arguments it says what there is."""
    done = await run(*arguments)
    assert done.stdout.startswith(b"Usage: python -m trio_closeevents [OPTIONS] COMMAND [ARGS]...\n")
    for name in ("bench", "codes", "connect", "demo", "serve"):
        assert f"\n  {name:<9}".encode() in done.stdout
    assert (done.stderr, done.returncode) == (b"", 0)


@pytest.mark.parametrize("name", ["bench", "codes", "connect", "demo", "serve"])
async def test_help_of_a_command_explains_every_option(name: str) -> None:
    """Each option has its line, within the width that COLUMNS tells."""
    done = await run(name, "--help", env={"COLUMNS": "60"})
    text = done.stdout.decode()
    assert done.returncode == 0
    assert max(map(len, text.splitlines())) < 80  # the table of exit statuses is not broken
    for parameter in commands.commands[name].params:
        assert parameter.opts[0] in text or str(parameter.name).upper() in text
        if parameter.param_type_name == "option":
            assert getattr(parameter, "help", None)


async def test_version() -> None:
    """--version is that of the package."""
    assert (await run("--version")).stdout.decode() == f"trio-closeevents {__version__}\n"


@pytest.mark.parametrize("arguments", [["dance"], ["demo", "--fast"], ["--fast"], ["bench"]])
async def test_usage_error_has_status_2(arguments: list[str]) -> None:
    """What is not understood is not run."""
    done = await run(*arguments)
    assert (done.stdout, done.returncode) == (b"", 2)
    assert done.stderr.startswith(b"Usage: ")
    assert b"Error: " in done.stderr


@pytest.mark.parametrize("name", ["click", "rich"])
async def test_without_the_extra_it_says_how_to_get_it(name: str) -> None:
    """One line and status 2, not a traceback; and importing the module does nothing."""
    program = f"import sys; sys.modules[{name!r}] = None; from trio_closeevents.__main__ import main; sys.exit(main())"
    done = await trio.run_process(
        [sys.executable, "-c", program], capture_stdout=True, capture_stderr=True, check=False
    )
    expected = f"trio-closeevents: the command line needs {name}: pip install 'trio-closeevents[cli]'\n"
    assert (done.stdout, done.stderr.decode(), done.returncode) == (b"", expected, 2)


def test_other_missing_modules_are_not_blamed_on_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken installation is an error like others."""
    monkeypatch.setitem(sys.modules, "trio_closeevents._cli.app", None)
    with pytest.raises(ModuleNotFoundError):
        __main__.main()


def test_interrupted_while_it_is_loaded(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C before or after the commands are there is status 130, without a traceback."""

    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app.commands, "main", interrupt)
    assert app.run(["codes"]) == 130
    assert capsys.readouterr().err == "interrupted\n"

    class Interrupting(dict[str, object]):
        def __getattr__(self, name: str) -> object:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "trio_closeevents._cli.app", Interrupting())
    assert __main__.main() == 130


async def test_console_script() -> None:
    """The installed script is the same program."""
    script = Path(sys.executable).with_name("trio-closeevents")
    if not script.exists():
        program = "import sys; from trio_closeevents.__main__ import main; sys.exit(main())"
        command = [sys.executable, "-c", program]
    else:
        command = [str(script)]
    done = await trio.run_process([*command, "codes", "1001"], capture_stdout=True)
    assert done.stdout.startswith(b"1001  going away")


async def test_stdout_that_nobody_reads_is_no_traceback() -> None:
    """`codes | head -1`: status 141, nothing on stderr."""
    reading, writing = os.pipe()
    os.close(reading)
    process = await trio.lowlevel.open_process(
        [*COMMAND, "codes"], stdout=writing, stderr=subprocess.PIPE, env=environment({})
    )
    os.close(writing)
    assert process.stderr is not None
    assert b"".join([data async for data in process.stderr]) == b""
    assert await process.wait() == 141


async def test_stdout_that_has_not_all_characters() -> None:
    """An encoding without § spoils the §, and nothing else."""
    env = environment({"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    done = await trio.run_process([*COMMAND, "codes", "1001"], capture_stdout=True, env=env)
    assert b"RFC 6455 ?7.4.1" in done.stdout
    assert done.returncode == 0


async def test_streams_that_are_gone() -> None:
    """A terminal that has hung up is the end of the input, and nothing can be written to it."""
    reading, writing = os.pipe()
    os.close(reading)
    lost: list[bool] = []
    output = Output(writing, lambda: lost.append(True))
    async with output.opened():
        await output.write(b"one")
        await output.write(b"two")
    assert lost == [True]
    output.write_now(b"three")
    os.close(writing)
    Output(writing, list).write_now(b"four")
    assert await read_some(reading) == b""


def test_console_on_anything() -> None:
    """Whatever stands in for stdout is good enough."""
    stream = io.StringIO()
    report(console_of(stream), "[bold]as it is[/] :smile:")
    assert stream.getvalue() == "[bold]as it is[/] :smile:\n"


async def test_demo_is_a_command() -> None:
    """`demo --json` plays all rows and prints JSON and nothing else."""
    done = await run("demo", "--json")
    assert done.stdout.startswith(b'{\n  "as_expected": true')
    assert (done.stderr, done.returncode) == (b"", 0)
