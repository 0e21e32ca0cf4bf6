"""Each library is a process that lives as long as the tests, and every test is one of its connections."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest
from tls import CertificateFiles, Contexts, Wire

from .process import LIBRARIES, PeerProcess, Role


@pytest.fixture(scope="session")
def peers(certificate_files: CertificateFiles) -> Iterator[Callable[[str], PeerProcess]]:
    """Start each library's process when it is asked for first, and end all of them with the tests."""
    with ExitStack() as processes:
        yield cache(lambda library: processes.enter_context(PeerProcess(library, certificate_files)))


@pytest.fixture(params=[None, ssl.TLSVersion.TLSv1_3], ids=["plain", "TLS 1.3"])
def wire(request: pytest.FixtureRequest, server_contexts: Contexts, client_contexts: Contexts) -> Wire:
    """Plain TCP, and what two peers agree on by themselves."""
    version = request.param
    return Wire("plain") if version is None else Wire("TLS 1.3", server_contexts(version), client_contexts(version))


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    """The module of the peer."""
    name: str = request.param
    return name


@pytest.fixture
def peer(library: str, peers: Callable[[str], PeerProcess]) -> PeerProcess:
    """The process that all tests with this library share."""
    return peers(library)


@pytest.fixture(params=["client", "server"])
def role(request: pytest.FixtureRequest) -> Role:
    """Our role."""
    ours: Role = request.param
    return ours
