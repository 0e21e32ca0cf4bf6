"""Fixtures for all tests: TLS for 127.0.0.1 and localhost, with certificates of an authority of the tests' own.

`server_ssl_context` and `client_ssl_context` speak TLS 1.3. A test that wants others says so, with `TLS_VERSIONS` of
`tls.py`: `@pytest.mark.parametrize("tls_version", TLS_VERSIONS)`. One that takes `wire` runs three times: on plain TCP,
on TLS 1.2 and on TLS 1.3.
"""

from __future__ import annotations

import gc
import inspect
import signal
import ssl
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest
import trustme
from nasty import Stage
from stages import run_autojump
from tls import CertificateFiles, Contexts, Wire, client_context, server_context

# A background job of a shell inherits SIGINT as ignored, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

SESSIONS: Final = [Path(__file__).parent / name for name in ("browser", "deploy")]
WIRES: Final = {"plain": None, "TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what needs a browser or proxies, unless it was asked for by its path, as `nox -s browser` does."""
    is_left_out = collection_path in SESSIONS and not any(
        collection_path.name in Path(each).parts for each in config.args
    )
    return True if is_left_out else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, and has a timeout of its own for it: else one process is left alone with it.

    Over memory streams time is the autojump clock's, over sockets it is real.
    """
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if parameters.get("wire") == "memory" and inspect.iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.trio(run=run_autojump), append=False)


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over the thousands of tests, which stay: many of them run it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """The authority that all certificates of the tests are from."""
    return trustme.CA()


@pytest.fixture(scope="session")
def server_certificate(authority: trustme.CA) -> trustme.LeafCert:
    """A certificate for the loopback."""
    return authority.issue_cert("localhost", "127.0.0.1")


@pytest.fixture(scope="session")
def certificate_files(
    authority: trustme.CA, server_certificate: trustme.LeafCert, tmp_path_factory: pytest.TempPathFactory
) -> CertificateFiles:
    """The certificates as PEM files, for a peer in another process."""
    folder = tmp_path_factory.mktemp("certificates")
    files = CertificateFiles(folder / "authority.pem", folder / "server.pem")
    authority.cert_pem.write_to_path(files.authority)
    server_certificate.private_key_and_cert_chain_pem.write_to_path(files.server)
    return files


@pytest.fixture(scope="session")
def server_contexts(server_certificate: trustme.LeafCert) -> Contexts:
    """Make each version's context once: a server's context may serve any number of connections."""
    return cache(lambda version: server_context(server_certificate, version))


@pytest.fixture(scope="session")
def client_contexts(authority: trustme.CA) -> Contexts:
    """Make each version's context once, for clients."""
    return cache(lambda version: client_context(authority, version))


@pytest.fixture
def tls_version() -> ssl.TLSVersion:
    """The TLS version of `server_ssl_context` and `client_ssl_context`; parametrise a test with it for another."""
    return ssl.TLSVersion.TLSv1_3


@pytest.fixture
def server_ssl_context(server_contexts: Contexts, tls_version: ssl.TLSVersion) -> ssl.SSLContext:
    """A server's context for 127.0.0.1 and localhost, of the version `tls_version`."""
    return server_contexts(tls_version)


@pytest.fixture
def client_ssl_context(client_contexts: Contexts, tls_version: ssl.TLSVersion) -> ssl.SSLContext:
    """A client's context that trusts `server_ssl_context`, of the version `tls_version`."""
    return client_contexts(tls_version)


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.once) if name == "TLS 1.2" else name for name in WIRES])
def wire(request: pytest.FixtureRequest, server_contexts: Contexts, client_contexts: Contexts) -> Wire:
    """Plain TCP, TLS 1.2, TLS 1.3, one after the other."""
    version = WIRES[request.param]
    if version is None:
        return Wire(request.param)
    return Wire(request.param, server_contexts(version), client_contexts(version))


@pytest.fixture(params=["client", "server"])
async def stage(request: pytest.FixtureRequest, wire: Wire) -> AsyncIterator[Stage]:
    """Our side in both roles, on all wires, for it to meet nasty peers."""
    stage = Stage(request.param, wire)
    yield stage
    await stage.aclose()
