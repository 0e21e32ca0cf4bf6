"""What the Autobahn TestSuite is installed with."""

from __future__ import annotations

from typing import Final

__all__ = ["AUTOBAHN", "VIRTUALENV_FOR_2"]

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
VIRTUALENV_FOR_2: Final = "virtualenv==20.21.1"  # the last series that knows Python 2.7: pip 20.3.4, setuptools 44
