"""The project's gates. `nox` runs all of them; `nox -l` lists them; CI runs nothing else."""

from __future__ import annotations

import atexit
import os
import re
import runpy
import shutil
import subprocess
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import nox

if TYPE_CHECKING:
    from collections.abc import Callable

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.download_python = "never"
nox.options.reuse_venv = "yes"  # what a session needs is installed again each time, which costs a second

ROOT: Final = Path(__file__).parent
PROJECT: Final = nox.project.load_toml(ROOT / "pyproject.toml")
PYTHONS: Final = nox.project.python_versions(PROJECT)  # the classifiers decide
SIDE_BY_SIDE: Final = ("-n", "4")  # real sockets mean real limits: most of a test's time is spent waiting


def group(name: str) -> list[str]:
    """Return what the dependency group *name* asks for."""
    return list(nox.project.dependency_groups(PROJECT, name))


# The Autobahn TestSuite needs Python 2.7, and its package declares no requirements. These work, in this order.
AUTOBAHN: Final = (
    (
        "incremental==16.10.1 six==1.16.0 txaio==2.1.0 zope.interface==4.6.0 jinja2==2.11.3 markupsafe==1.1.1"
        " Werkzeug==1.0.1 klein==17.10.0 unittest2==1.1.0"
    ),
    "--no-build-isolation Twisted==19.10.0",
    "pyOpenSSL==19.1.0 cryptography==3.3.2 service_identity==18.1.0",
    "wsaccel==0.6.2 ujson==1.35 autobahn==0.10.9",
    "autobahntestsuite==25.10.1",
)
BROWSERS: Final = ("chromium", "google-chrome", "google-chrome-stable")
PROXIES: Final = ("haproxy", "nginx")
VIRTUALENV_FOR_2: Final = "virtualenv==20.21.1"  # the last series that knows Python 2.7: pip 20.3.4, setuptools 44


@cache
def probe(candidate: Path) -> tuple[str, str]:
    """Return the version of the CPython at *candidate* and its own path; two empty strings if it does not run."""
    if not os.access(candidate, os.X_OK):
        return "", ""
    script = (
        "import platform, sys;"
        "print(platform.python_implementation() + ' %d.%d ' % sys.version_info[:2] + sys.executable)"
    )
    try:
        done = subprocess.run(
            [candidate, "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return "", ""
    name, version, path = done.stdout.strip().split(maxsplit=2) if done.returncode == 0 else ("", "", "")
    return (version, path) if name == "CPython" else ("", "")


def find_python(version: str) -> str | None:
    """Return the path of a CPython *version* that really runs, or `None`.

    It may be on PATH under its own name, among pyenv's versions (whose shims on PATH may refuse to run), or be what
    PATH calls Python.
    """
    path = [Path(folder) for folder in os.get_exec_path()]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [
        *(folder / f"python{version}" for folder in path),
        *(folder / "bin" / f"python{version}" for folder in sorted(pyenv.glob(f"versions/{version}.*"), reverse=True)),
        *(folder / name for folder in path for name in ("python3", "python")),
    ]
    return next((found for it in candidates for seen, found in [probe(it)] if seen == version), None)


INTERPRETERS: Final = {version: find_python(version) for version in PYTHONS}

# The newest Python that is installed runs all tests, and measures what they reach. The others leave out what is marked
# `once`: what takes long, and does not depend on them. The lowest of them has the lowest versions of all we depend on.
INSTALLED: Final = [version for version, path in INTERPRETERS.items() if path is not None]
NEWEST: Final = INSTALLED[-1] if INSTALLED else None
LOWEST: Final = INSTALLED[0] if INSTALLED else None
NOT_AGAIN: Final = ("-m", "not once")
MEASURED: Final = ("-m", "not once or measured")
PURE: Final = {"TRIO_CLOSEEVENTS_PURE": "1"}  # without the extension module
UNMEASURED: Final = ("-m", "once and not measured")


def coverage_folder(session: nox.Session) -> Path:
    """Return the folder that keeps the coverage data between sessions."""
    return Path(session.cache_dir).resolve() / "coverage"


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format, and who may import whom."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def typing(session: nox.Session) -> None:
    """Types: mypy strict, pyright strict; then those of a project that uses the package as it is installed."""
    install_package(session)
    session.install(".[cli]", *group("typing"))
    # Both pyright and its node come out of the package index; without this variable it would look for a newer one.
    pyright = partial(session.run, "pyright", "--warnings", env={"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"})
    session.run("mypy")
    pyright()
    session.chdir(ROOT / "tests/typed_project")  # away from the source tree
    session.run("mypy")
    pyright()


def install_package(session: nox.Session) -> None:
    """Install the package as a user does, without what it depends on."""
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # what an earlier build left there would be installed too
    session.install("--force-reinstall", "--no-deps", ".")


def lowest_versions(session: nox.Session) -> list[str]:
    """Return the lowest versions that pyproject.toml allows, of all that a user installs."""
    metadata = PROJECT["project"]
    extras = metadata["optional-dependencies"]
    names = ("cli", "dom", "otel", "routing", "trio-websocket")
    extra = [requirement for name in names for requirement in extras[name]]
    pins: list[str] = []
    for requirement in [*metadata["dependencies"], *extra]:
        bound = re.fullmatch(r"([A-Za-z0-9._-]+)>=([0-9.]+)", requirement)
        if bound is None:
            session.error(f"{requirement!r} has no lowest version of the form name>=1.2.3")
        pins.append("{}=={}".format(*bound.groups()))
    session.log(f"Lowest versions: {' '.join(pins)}")
    return pins


def tests_on(version: str) -> Callable[[nox.Session], None]:
    """Return the session that runs the tests on Python *version*."""

    def tests(session: nox.Session) -> None:
        if INTERPRETERS[version] is None:
            session.skip(f"NOT RUN: Python {version} is not installed")
        lowest = version == LOWEST != NEWEST
        session.install("-e", ".[cli]", *group("test"), *(lowest_versions(session) if lowest else []))
        pytest = ("-m", "pytest", *SIDE_BY_SIDE)
        if version != NEWEST or session.posargs:
            session.run(
                "python", *pytest, *(session.posargs or NOT_AGAIN), env={"TRIO_CLOSEEVENTS_PURE": "1"} if lowest else {}
            )
            return
        shutil.rmtree(coverage_folder(session), ignore_errors=True)
        coverage_folder(session).mkdir(parents=True)
        env = {"COVERAGE_FILE": str(coverage_folder(session) / "data")}
        session.run("python", "-m", "coverage", "run", *pytest, *MEASURED, env=env)
        session.run("python", *pytest, *UNMEASURED)

    what = "in pure Python, with the lowest versions of all dependencies" if version == LOWEST != NEWEST else ""
    tests.__doc__ = (
        f"The tests on Python {version}{', with coverage data' if version == NEWEST else what and ', ' + what}."
    )
    return tests


for _version, _path in INTERPRETERS.items():
    # Without an interpreter the session needs no environment: all it does is to say so.
    nox.session(name=f"tests-{_version}", python=_path or False, tags=["tests"])(tests_on(_version))


@nox.session
def coverage(session: nox.Session) -> None:
    """What the tests reached, branches too."""
    session.install(*(requirement for requirement in group("test") if requirement.startswith("coverage")))
    files = sorted(map(str, coverage_folder(session).glob("data.*")))
    if not files:
        session.error("no coverage data: run the tests first, `nox -t tests`")
    env = {"COVERAGE_FILE": str(coverage_folder(session) / "data")}
    session.run("coverage", "combine", "-q", "--keep", *files, env=env)
    session.run("coverage", "report", env=env)


@nox.session(python=INTERPRETERS[LOWEST] if LOWEST else None, default=LOWEST == NEWEST)
def lowest(session: nox.Session) -> None:
    """The tests with the lowest versions that pyproject.toml allows; `tests` does it too, on the lowest Python."""
    session.install("-e", ".[cli]", *group("test"), *lowest_versions(session))
    session.run("python", "-m", "pytest", *SIDE_BY_SIDE, *(session.posargs or NOT_AGAIN), env=PURE)


@nox.session
def demo(session: nox.Session) -> None:
    """The demo, from the package as a user installs it."""
    install_package(session)
    session.install(".[cli]")
    session.chdir(session.create_tmp())  # away from the source tree
    session.run("python", "-W", "error", "-m", "trio_closeevents", "demo", *session.posargs)


@nox.session
def autobahn(session: nox.Session) -> None:
    """The Autobahn TestSuite, in both roles; `-- full` for all of its cases, `-- record` for what the tests replay."""
    python = find_python("2.7")
    if python is None:
        missing = "NOT RUN: autobahn (no Python 2.7)"
        atexit.register(print, missing, flush=True)  # below nox's own summary
        session.skip(missing)
    session.install("-e", ".")
    suite = autobahn_environment(session, python)
    reports = Path(session.cache_dir).resolve() / "autobahn-reports"
    session.chdir(ROOT / "tests")
    session.run("python", "-m", "autobahn", str(suite), str(reports), *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """Pages in Chromium, headless, and the example that has one; Debian's package is installed if root runs this."""
    if find_browser() is None:
        install_debian(session, "chromium")
    chromium = find_browser()
    if chromium is None:
        missing = "NOT RUN: browser (no Chromium, and no Debian package of it that could be installed)"
        atexit.register(print, missing, flush=True)  # below nox's own summary
        session.skip(missing)
    session.install("-e", ".", *group("test"))
    env = {"CHROMIUM": chromium, "SCREENSHOTS": str(Path(session.cache_dir).resolve() / "screenshots")}
    shutil.rmtree(env["SCREENSHOTS"], ignore_errors=True)  # those of an earlier run
    session.run("python", "-m", "pytest", *(session.posargs or ["-n", "2", "tests/browser"]), env=env)


def find_browser() -> str | None:
    """Return the path of a Chromium, or of what is made of it."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@nox.session
def deploy(session: nox.Session) -> None:
    """Servers behind HAProxy and nginx; what Debian has of them is installed if root runs this."""
    for name in PROXIES:
        if find_proxy(name) is None:
            install_debian(session, name)
        if find_proxy(name) is None:
            missing = f"NOT RUN: deploy on {name} (not installed, and no Debian package of it that could be)"
            atexit.register(print, missing, flush=True)  # below nox's own summary
    if not any(map(find_proxy, PROXIES)):
        session.skip("NOT RUN: deploy (no proxy is installed)")
    session.install("-e", ".", *group("test"))
    session.run("python", "-m", "pytest", *(session.posargs or ["tests/deploy"]))


def install_debian(session: nox.Session, package: str) -> None:
    """Install a package of Debian; where that cannot be done, do nothing."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    for words in ("update", f"install --yes --no-install-recommends {package}"):
        session.run(apt, "-qq", *words.split(), external=True, silent=True, success_codes=range(256), env=env)


def find_proxy(name: str) -> str | None:
    """Return the path of a proxy, which Debian keeps away from most users' PATH."""
    return shutil.which(name, path=os.pathsep.join([*os.get_exec_path(), "/usr/sbin"]))


def autobahn_environment(session: nox.Session, python: str) -> Path:
    """Return the interpreter of an environment with the TestSuite, made if there is none, or only a part of one."""
    folder = Path(session.cache_dir).resolve() / "autobahn"
    interpreter, stamp = folder / "bin" / "python", folder / "complete"
    contents = "\n".join([python, VIRTUALENV_FOR_2, *AUTOBAHN])
    if stamp.is_file() and stamp.read_text() == contents and probe(interpreter)[0] == "2.7":
        return interpreter
    shutil.rmtree(folder, ignore_errors=True)
    session.install(VIRTUALENV_FOR_2)
    session.run("virtualenv", "--quiet", "--python", python, str(folder))
    pip = (str(interpreter), "-m", "pip", "--quiet", "--no-python-version-warning", "install")
    for requirements in AUTOBAHN:
        session.run(*pip, *requirements.split(), external=True)
    stamp.write_text(contents)
    return interpreter


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, in docs/_build/html."""
    session.install("-e", ".[otel]", *group("docs"))
    session.run("sphinx-build", "-W", "--keep-going", "-n", "-q", "-E", "-a", "-b", "html", "docs", "docs/_build/html")
    session.log("The pages begin at docs/_build/html/index.html")


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Not by default: feed the protocol what no peer would send, for SECONDS, 60 if not given."""
    session.install("-e", ".", *group("test"))
    session.chdir("tests")
    session.run("python", "-m", "fuzz", *(session.posargs or ["60"]))


@nox.session(default=False)
def explore(session: nox.Session) -> None:
    """Not by default: walk every interleaving of two endings and a network, and print the figures."""
    session.install("-e", ".", *group("test"))
    session.chdir("tests")
    session.run("python", "-m", "exploration", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Not by default: measure this library beside others on this machine; an hour and a half for all of it."""
    session.install("-e", ".", *group("bench"))
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Not by default: open and end connections in random ways in several processes, for MINUTES, 10 if not given."""
    session.install("-e", ".[cli]", *group("test"))
    session.chdir("tests")
    session.run("python", "-m", "soak", *(session.posargs or ["10"]))


@nox.session(default=False)
def changelog(session: nox.Session) -> None:
    """Not by default: move the news fragments into docs/changelog.rst, for a release."""
    session.install(*group("docs"))
    session.run(
        "towncrier",
        "build",
        "--version",
        runpy.run_path(str(ROOT / "trio_closeevents/_version.py"))["__version__"],
        *session.posargs,
    )
