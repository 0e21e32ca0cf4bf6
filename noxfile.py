"""The project's gates. `nox` runs all of them; `nox -l` lists them; CI runs nothing else."""

from __future__ import annotations

import atexit
import os
import platform
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Final

import nox

sys.path.insert(0, str(Path(__file__).parent))
from tools.autobahn import AUTOBAHN, VIRTUALENV_FOR_2
from tools.machine import find_browser, find_proxy, find_python, probe
from tools.version import ROOT, version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

nox.needs_version = ">=2025.10.14"
nox.options.default_venv_backend = "virtualenv"
nox.options.download_python = "never"
nox.options.reuse_venv = "yes"  # what a session needs is installed again each time, which costs a second

PROJECT: Final = nox.project.load_toml(ROOT / "pyproject.toml")
PYTHONS: Final = nox.project.python_versions(PROJECT)  # the classifiers decide


def group(name: str) -> list[str]:
    """Return what the dependency group *name* asks for."""
    return list(nox.project.dependency_groups(PROJECT, name))


PROXIES: Final = ("haproxy", "nginx")
# None of these keeps two cores busy. The session `beside` runs them at once, each in a nox of its own, which finds the
# wheel there.
BESIDE: Final = ("package", "demo", "docs", "autobahn", "deploy")
IS_BUILT: Final = "TRIO_CLOSEEVENTS_IS_BUILT"
BUILD: Final = [] if IS_BUILT in os.environ else ["build"]

INTERPRETERS: Final = {version: find_python(version) for version in PYTHONS}

# Every Python that is installed runs the tests, but for those that are marked `once`: what takes long, and does not
# depend on it. On the lowest, all that we depend on has its lowest version; on the newest, what the tests reach is
# measured. The one before the newest has what is marked `once`, and of the others the contract's tests only; if there
# are no three, the newest has it all.
INSTALLED: Final = [version for version, path in INTERPRETERS.items() if path is not None]
NEWEST: Final = INSTALLED[-1] if INSTALLED else None
LOWEST: Final = INSTALLED[0] if INSTALLED else None
BETWEEN: Final = INSTALLED[-2] if len(INSTALLED) > 2 else None
NOT_AGAIN: Final = ("-m", "not once")
MEASURED: Final = ("-m", "(not once or measured) and not unmeasured")
UNMEASURED: Final = ("-m", "once and not measured or unmeasured")
ONCE: Final = ("-n", "6", "-m", f"{UNMEASURED[1]} or contract and not once")  # more of that is waiting
PURE: Final = {"TRIO_CLOSEEVENTS_PURE": "1"}  # without the extension module
PYTEST: Final = ("python", "-m", "pytest", "-n", "4", "--dist", "worksteal")  # real sockets: much of it is waiting


def cache_folder(session: nox.Session) -> Path:
    """Return the folder that keeps files between sessions, and between runs; the same, wherever a session has gone."""
    return ROOT / session.cache_dir


def coverage_folder(session: nox.Session) -> Path:
    """Return the folder that keeps the coverage data between sessions."""
    return cache_folder(session) / "coverage"


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format, and who may import whom."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def build(session: nox.Session) -> None:
    """The source distribution, and the wheel out of it, which the sessions below install."""
    session.install(*(it for it in group("package") if it.startswith("build")), *PROJECT["build-system"]["requires"])
    shutil.rmtree(built(session), ignore_errors=True)
    shutil.rmtree(ROOT / "trio_closeevents.egg-info", ignore_errors=True)  # what it lists would be taken along
    # Without isolation, which takes longer; the session `package` builds once with it.
    session.run("python", "-m", "build", "--no-isolation", "--outdir", str(built(session)), silent=True)
    # What the tests need, without the package: there the installed wheel is all that they can find.
    (sdist,) = built(session).glob("*.tar.gz")
    shutil.unpack_archive(sdist, built(session))
    (built(session) / sdist.name.removesuffix(".tar.gz")).rename(checkout(session))
    for name in ("trio_closeevents", "trio_closeevents.egg-info"):
        shutil.rmtree(checkout(session) / name)


def built(session: nox.Session) -> Path:
    """Return the folder with what the session `build` made."""
    return cache_folder(session) / "built"


def checkout(session: nox.Session) -> Path:
    """Return the folder with all that the source distribution has, but for the package."""
    return built(session) / "without-package"


# A test tests what it imports. Python looks in the working directory first, so this is run where the tests are.
WHERE: Final = (
    "import sysconfig, trio_closeevents as it; print(it.__file__);"
    " raise SystemExit(not it.__file__.startswith(sysconfig.get_path('platlib')))"
)


def install_wheel(session: nox.Session, extras: str = "", *requirements: str, folder: Path | None = None) -> None:
    """Install the wheel that `build` made, with *extras* and *requirements*, and go to *folder*.

    That is the checkout without the package, if no other is given. The session fails if anything but the wheel is
    imported there.
    """
    (wheel,) = built(session).glob("*.whl")
    environment = Path(session.virtualenv.location)
    packages = [*environment.glob("lib/python*/site-packages"), environment / "Lib" / "site-packages"]
    if any((each / "trio_closeevents").exists() for each in packages):  # pip would be content with the same version
        session.run("python", "-m", "pip", "uninstall", "--quiet", "--yes", "trio-closeevents")
    session.install(f"{wheel}[{extras}]" if extras else str(wheel), *requirements)
    if folder is None:
        # It is nobody's source tree: what pytest makes of a test file may be kept for the other processes.
        session.env["PYTHONDONTWRITEBYTECODE"] = ""
        session.env["HYPOTHESIS_STORAGE_DIRECTORY"] = str(ROOT / ".hypothesis")  # this one outlives the next build
    session.chdir(folder or checkout(session))
    session.run("python", "-c", WHERE)


@nox.session(python=False, requires=BUILD)
def beside(session: nox.Session) -> None:
    """At once, since each leaves a core idle: package, demo, docs, autobahn, deploy; each prints when it has ended."""
    with ThreadPoolExecutor() as pool:
        env = {IS_BUILT: "1"}
        running = [pool.submit(run_nox, session, "--session", name, silent=True, env=env) for name in BESIDE]
        for each in as_completed(running):
            if each.exception() is None:
                print(printed := str(each.result()), flush=True)
                for missing in re.findall(r"^NOT RUN:.*", printed, re.MULTILINE):
                    atexit.register(print, missing, flush=True)  # below nox's own summary
    for each in running:
        each.result()


def run_nox(
    session: nox.Session, *arguments: str, silent: bool = False, env: Mapping[str, str] | None = None
) -> object:
    """Run this file as *arguments* say, in another nox; return what that has printed, if it is to be *silent*."""
    outside = {name: os.environ.get(name) for name in ("PATH", "VIRTUAL_ENV")}  # where this nox found its Pythons
    words = (sys.executable, "-m", "nox", "--noxfile", __file__, *arguments)
    return session.run(*words, external=True, silent=silent, env={**outside, **(env or {})})


@nox.session(default=False, requires=BUILD)
def package(session: nox.Session) -> None:
    """What is published: contents and metadata; then each distribution, installed by itself, and used."""
    session.install(*group("package"))
    (sdist,), (wheel,) = built(session).glob("*.tar.gz"), built(session).glob("*.whl")
    session.run("twine", "check", "--strict", str(sdist), str(wheel))
    session.run("check-wheel-contents", str(wheel))
    session.run("python", "-m", "tools.contents", str(built(session)))
    session.run(sys.executable, "-m", "virtualenv", "--quiet", "--clear", str(fresh(session)), external=True)
    try_out(session, wheel)
    # Without a compiler, the sdist becomes a wheel without the extension module. Not one that pip has built before.
    try_out(session, sdist, "--no-cache-dir", what="pure", env={"CC": "false", "CXX": "false"})


def fresh(session: nox.Session) -> Path:
    """Return the folder of an environment with one distribution and what that depends on, and nothing else."""
    return cache_folder(session) / "fresh"


def try_out(
    session: nox.Session, distribution: Path, *options: str, what: str = "any", env: dict[str, str | None] | None = None
) -> None:
    """Install *distribution* by itself, import everything, and open a connection."""
    python = str(fresh(session) / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    pip = ("python", "-m", "pip", "--quiet", "--python", python)
    session.run(*pip, "uninstall", "--yes", "trio-closeevents", silent=True)
    session.run(*pip, "install", *options, str(distribution), env=env)
    session.run(python, str(ROOT / "tools/smoke.py"), what, external=True)


@nox.session(requires=BUILD)
def typing(session: nox.Session) -> None:
    """Types: mypy strict, pyright strict; then those of a project that uses the package as it is installed."""
    install_wheel(session, "cli", "--no-compile", *group("typing"))  # next to nothing of it is imported
    # Both pyright and its node come out of the package index; without this variable it would look for a newer one.
    env = {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    for folder in (ROOT, ROOT / "tests/typed_project"):  # the latter is away from the source tree
        session.chdir(folder)
        with ThreadPoolExecutor() as pool:  # each of them keeps one core busy
            checks = [pool.submit(session.run, *words, env=env) for words in (["pyright", "--warnings"], ["mypy"])]
        for check in checks:
            check.result()


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


def compile_all(session: nox.Session) -> None:
    """Compile what was installed, on all cores, while pip would take one."""
    where = session.virtualenv.location
    session.run("python", "-m", "compileall", "-qq", "-j", "0", where, success_codes=[0, 1], log=False)


def tests_on(version: str) -> Callable[[nox.Session], None]:
    """Return the session that runs the tests on Python *version*."""

    def tests(session: nox.Session) -> None:
        if INTERPRETERS[version] is None:
            session.skip(f"NOT RUN: Python {version} is not installed")
        lowest = version == LOWEST != NEWEST
        install_wheel(session, "cli", "--no-compile", *group("test"), *(lowest_versions(session) if lowest else []))
        compile_all(session)
        if version != NEWEST or session.posargs:
            usual = ONCE if version == BETWEEN else NOT_AGAIN
            session.run(*PYTEST, *(session.posargs or usual), env=PURE if lowest else {})
            return
        if BETWEEN is None:
            session.run(*PYTEST, *UNMEASURED)  # before the other: pytest rewrites the tests here, which is work
        shutil.rmtree(coverage_folder(session), ignore_errors=True)
        coverage_folder(session).mkdir(parents=True)
        env = {"COVERAGE_FILE": str(coverage_folder(session) / "data")}
        session.run("python", "-m", "coverage", "run", *PYTEST[1:], *MEASURED, env=env)

    what = {
        LOWEST: ", in pure Python, with the lowest versions of all dependencies",
        BETWEEN: ": what is marked `once`, and the contract",
        NEWEST: ", with coverage data",
    }
    tests.__doc__ = f"The tests on Python {version}{what.get(version, '')}."
    return tests


for _version, _path in INTERPRETERS.items():
    # Without an interpreter the session needs no environment: all it does is to say so.
    nox.session(name=f"tests-{_version}", python=_path or False, tags=["tests"], requires=BUILD)(tests_on(_version))


@nox.session
def coverage(session: nox.Session) -> None:
    """What the tests reached, branches too."""
    session.install(*(requirement for requirement in group("test") if requirement.startswith("coverage")))
    files = sorted(map(str, coverage_folder(session).glob("data.*")))
    if not files:
        session.error("no coverage data: run the tests first, `nox -t tests`")
    env = {"COVERAGE_FILE": str(cache_folder(session) / "combined")}  # apart, since a report takes away what it finds
    session.run("coverage", "combine", "-q", "--keep", *files, env=env, log=False)
    session.run("coverage", "report", env=env)


@nox.session(python=INTERPRETERS[LOWEST] if LOWEST else None, default=LOWEST == NEWEST, requires=BUILD)
def lowest(session: nox.Session) -> None:
    """The tests with the lowest versions that pyproject.toml allows; `tests` does it too, on the lowest Python."""
    install_wheel(session, "cli", *group("test"), *lowest_versions(session))
    session.run(*PYTEST, *(session.posargs or NOT_AGAIN), env=PURE)


@nox.session(default=False, requires=BUILD)
def demo(session: nox.Session) -> None:
    """The demo, from the package as a user installs it."""
    install_wheel(session, "cli")
    session.run("python", "-W", "error", "-m", "trio_closeevents", "demo", *session.posargs)


@nox.session(default=False, requires=BUILD)
def autobahn(session: nox.Session) -> None:
    """The Autobahn TestSuite, in both roles; `-- full` for all of its cases, `-- record` for what the tests replay."""
    python = find_python("2.7")
    if python is None:
        missing = "NOT RUN: autobahn (no Python 2.7)"
        atexit.register(print, missing, flush=True)  # below nox's own summary
        session.skip(missing)
    install_wheel(session, folder=ROOT / "tests")
    suite = autobahn_environment(session, python)
    reports = cache_folder(session) / "autobahn-reports"
    session.run("python", "-m", "autobahn", str(suite), str(reports), *session.posargs)


@nox.session(requires=BUILD)
def browser(session: nox.Session) -> None:
    """Pages in Chromium, headless, and the example that has one; Debian's package is installed if root runs this."""
    if find_browser() is None:
        install_debian(session, "chromium")
    chromium = find_browser()
    if chromium is None:
        missing = "NOT RUN: browser (no Chromium, and no Debian package of it that could be installed)"
        atexit.register(print, missing, flush=True)  # below nox's own summary
        session.skip(missing)
    install_wheel(session, "", *group("pytest"))
    env = {"CHROMIUM": chromium, "SCREENSHOTS": str(cache_folder(session) / "screenshots")}
    shutil.rmtree(env["SCREENSHOTS"], ignore_errors=True)  # those of an earlier run
    session.run("python", "-m", "pytest", *(session.posargs or ["-n", "2", "tests/browser"]), env=env)


@nox.session(default=False, requires=BUILD)
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
    install_wheel(session, "routing", *group("test"))
    session.run("python", "-m", "pytest", *(session.posargs or ["tests/deploy"]))


def install_debian(session: nox.Session, package: str) -> None:
    """Install a package of Debian; where that cannot be done, do nothing."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    for words in ("update", f"install --yes --no-install-recommends {package}"):
        session.run(apt, "-qq", *words.split(), external=True, silent=True, success_codes=range(256), env=env)


def autobahn_environment(session: nox.Session, python: str) -> Path:
    """Return the interpreter of an environment with the TestSuite, made if there is none, or only a part of one."""
    folder = cache_folder(session) / "autobahn"
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


@nox.session(default=False, requires=BUILD)
def docs(session: nox.Session) -> None:
    """The documentation, in docs/_build/html."""
    install_wheel(session, "otel", *group("docs"), folder=ROOT / "docs")
    session.run("sphinx-build", "-W", "--keep-going", "-n", "-q", "-E", "-a", "-b", "html", ".", "_build/html")
    session.log("The pages begin at docs/_build/html/index.html")


@nox.session(default=False, requires=BUILD)
def fuzz(session: nox.Session) -> None:
    """Not by default: feed the protocol what no peer would send, for SECONDS, 60 if not given."""
    install_wheel(session, "", *group("test"), folder=ROOT / "tests")
    session.run("python", "-m", "fuzz", *(session.posargs or ["60"]))


@nox.session(default=False, requires=BUILD)
def explore(session: nox.Session) -> None:
    """Not by default: walk every interleaving of two endings and a network, and print the figures."""
    install_wheel(session, "", *group("test"), folder=ROOT / "tests")
    session.run("python", "-m", "exploration", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Not by default: measure this library beside others on this machine; an hour and a half for all of it."""
    session.install("-e", ".", *group("bench"))
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(default=False)
def endings(session: nox.Session) -> None:
    """Not by default: play how connections end with each library for trio, and write the table of docs/why.rst."""
    session.install("-e", ".", *group("bench"))
    table = ROOT / "docs" / "plots" / "endings.rst"
    session.run("python", "-m", "benchmarks.endings", *(session.posargs or ["--rst", str(table)]))


@nox.session(default=False, requires=BUILD)
def soak(session: nox.Session) -> None:
    """Not by default: open and end connections in random ways in several processes, for MINUTES, 10 if not given."""
    install_wheel(session, "cli", *group("test"), folder=ROOT / "tests")
    session.run("python", "-m", "soak", *(session.posargs or ["10"]))


@nox.session(default=False)
def changelog(session: nox.Session) -> None:
    """Not by default: move the news fragments into docs/changelog.rst, for a release."""
    session.install(*group("docs"))
    session.run(
        "towncrier",
        "build",
        "--version",
        version_of(ROOT),
        *session.posargs,
    )


@nox.session(default=False)
def release(session: nox.Session) -> None:
    """Not by default: the checklist of a release; `-- dry` goes through it where there is none to be made yet.

    It looks at the commit, runs all gates (not with `-- gates-are-green`), and leaves in dist/ what may be uploaded.
    It never tags and never uploads: at the end it says what remains.
    """
    words = set(session.posargs)
    if words - {"dry", "gates-are-green"}:
        session.error("after -- may stand: dry, gates-are-green")
    dry, version = "dry" in words, version_of(ROOT)
    session.install(*group("release"))
    session.run("python", "-m", "tools.release", "check", success_codes=[0, 1] if dry else [0])
    if dry:
        session.run("towncrier", "build", "--draft", "--version", version, silent=True)
    run_nox(session, *(["--session", "package"] if words else []))
    (sdist,), (wheel,) = built(session).glob("*.tar.gz"), built(session).glob("*.whl")
    folder = ROOT / "dist" / (f"{version}-dry" if dry else version)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(sdist, folder)
    if sys.platform == "linux":  # the index takes no wheel for some Linux or other; this one has no symbol of a libc
        tag = f"manylinux_2_17_{platform.machine()}"
        session.run("auditwheel", "repair", "--plat", tag, "--wheel-dir", str(folder), str(wheel), silent=True)
    else:
        shutil.copy(wheel, folder)
    session.run("python", "-m", "tools.contents", str(folder))
    try_out(session, next(folder.glob("*.whl")))
    files = [str(each.relative_to(ROOT)) for each in sorted(folder.iterdir())]
    session.run("twine", "check", "--strict", *files)
    session.run("python", "-m", "tools.release", "remains", *files)
