"""Sphinx configuration. Nothing is fetched, and every warning is an error (see the session `docs` of noxfile.py)."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from docutils import nodes
from sphinx.addnodes import download_reference, pending_xref
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.util.nodes import make_refnode

from trio_closeevents import __version__

if TYPE_CHECKING:
    from docutils.nodes import Element, document, reference
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

HERE: Final = Path(__file__).parent
PACKAGE: Final = "trio_closeevents"
# Names of the core that the pages of other modules have too, where they mean their own.
TWICE: Final = ("CloseEvent", "ConnectionClosed", "HandshakeError", "WebSocket")
OTHERS: Final = ("compat", "dom")

metadata = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = metadata["name"]
author = metadata["authors"][0]["name"]
project_copyright = f"2026, {author}"
release = version = __version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "_generated", "diagrams", "plots"]
highlight_language = "none"  # what is not said to be code is none
default_role = "code"  # docstrings put names between single backticks

html_theme = "furo"
html_title = f"{project} {release}"
html_copy_source = False
html_static_path = ["style"]
html_css_files = ["pages.css"]
html_theme_options = {"dark_css_variables": {"color-code-background": "#1c2026"}}
pygments_dark_style = "github-dark"  # furo's own underlines what is imported, as if it led somewhere

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # an attribute in `Attributes:` may be a dataclass field as well
python_use_unqualified_type_names = True

# What other projects document. There is no network to ask them for their pages.
nitpick_ignore_regex = [
    ("py:.*", rf"(?!{PACKAGE}\b)[a-z_][a-z0-9_]*(\..+)?"),  # modules of others, and builtins
    ("py:class", r"(Any|Awaitable|Callable|Iterable|Iterator|AsyncIterator|AsyncGenerator|Mapping|Sequence|Self|Path)"),
    (
        "py:class",
        r"(AbstractAsyncContextManager|Address|CookieJar|EventHandler|ExtensionFactory|Handler|HeadersLike|OnClose|Origin)",
    ),
    ("py:class", r"(HeaderPairs|Origin|ProcessRequest|ProcessResponse|ProxyLike|SelectSubprotocol|Session)"),
    ("py:class", r"(SSLListener|Transport|WSConnection)"),
    ("py:.*", rf"{PACKAGE}\.routing\.Any\w+"),  # type variables
    (
        "py:class",
        r"(Break|HalfCloseableStream|UUID|Enum|IntEnum|StrEnum|SSLContext|TracebackType|Exception|BaseException)",
    ),
    ("py:class", r"(Ending|WebSocketConnection)"),  # in signatures of `adapters`
    # A private name that a signature shows; the public ones are found below.
    ("py:.*", rf"{PACKAGE}\.((testing|dom|adapters)\.)?_.*"),
]


def find_public_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: Element) -> reference | None:
    """Resolve `_events.CloseEvent`, or a bare `CloseEvent`, to the name that users import."""
    name = node.get("reftarget", "").rpartition(".")[2]
    known = env.domains.python_domain.objects
    modules = ("", ".dom", ".testing", ".diagram", ".trace", ".otel", ".adapters")
    entry = next((known[full] for module in modules if (full := f"{PACKAGE}{module}.{name}") in known), None)
    if node.get("refdomain") != "py" or entry is None:
        return None
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, name)


def mean_the_core(app: Sphinx, doctree: document) -> None:
    """Let a bare name mean the core's own, if another module has one of that name too; on the page of that, its own."""
    for node in doctree.findall(pending_xref):
        if node.get("reftarget") in TWICE and app.env.docname not in OTHERS:
            node["reftarget"] = f"{PACKAGE}.{node['reftarget']}"


def show_outputs(app: Sphinx, doctree: document) -> None:
    """Let what programs print, which a comment says, look different from programs."""
    for mark in list(doctree.findall(nodes.comment)):
        following = mark.next_node(descend=False, siblings=True)
        if mark.astext().startswith("printed") and isinstance(following, nodes.literal_block):
            following["classes"].append("printed")


def rewrite_fences(app: Sphinx, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """Turn the fenced examples of docstrings into code blocks."""
    text = re.sub(
        r"^( *)```python\n(.*?)^\1```$",
        lambda it: f"{it[1]}.. code-block:: python\n\n" + re.sub(r"(?m)^(?=.)", "    ", it[2]),
        "\n".join(lines),
        flags=re.MULTILINE | re.DOTALL,
    )
    lines[:] = text.split("\n")


def write_unreleased(app: Sphinx) -> None:
    """Write what the news fragments will say at the next release, for the changelog page."""
    towncrier = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "Next", "--date", "not released"]
    done = subprocess.run(towncrier, cwd=HERE.parent, capture_output=True, text=True)
    if done.returncode != 0:
        raise ExtensionError(f"towncrier: {done.stderr}")
    write("unreleased", done.stdout)


def write_codes(app: Sphinx) -> None:
    """Write the tables of the page about close codes."""
    tables = runpy.run_path(str(HERE / "close_codes.py"))
    write("codes", tables["registered"]())
    write("ranges", tables["ranges"]())


def write(name: str, content: str) -> None:
    """Write a part of a page, for the page to include."""
    path = HERE / "_generated" / f"{name}.rst"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content, encoding="utf-8")


class DiagramDirective(SphinxDirective):
    """``.. diagram:: states`` makes `diagrams/states.svg` a part of the page, whose colours it has then.

    As an image it would have the reader's, whatever the page's own switch for light and dark says.
    """

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        path = HERE / "diagrams" / f"{self.arguments[0]}.svg"
        self.env.note_dependency(str(path))
        if not path.is_file():
            return [self.state.document.reporter.error(f"there is no {path}", line=self.lineno)]
        picture = path.read_text(encoding="utf-8")
        return [nodes.raw("", f'<div class="diagram" tabindex="0">{picture}</div>', format="html")]


class TestRole(SphinxRole):
    """``:test:`test_url::test_any_text``` leads to the file, and is an error if it has no such test.

    Without the name of a test it is about the file as a whole.
    """

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        path, _, name = self.text.partition("::")
        file = HERE.parent / "tests" / f"{path}.py"
        if not file.is_file() or (name and f"def {name}(" not in file.read_text(encoding="utf-8")):
            message = self.inliner.reporter.error(f"{file} has no test {name!r}", line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        words = name.removeprefix("test_").replace("_", " ") or path
        target = f"/../tests/{path}.py"
        link = download_reference("", words, reftarget=target, refdomain="", refexplicit=True, refwarn=True)
        link["refdoc"] = self.env.docname
        return [link], []


def setup(app: Sphinx) -> None:
    app.add_role("test", TestRole())
    app.add_directive("diagram", DiagramDirective)
    app.connect("builder-inited", write_unreleased)
    app.connect("builder-inited", write_codes)
    app.connect("autodoc-process-docstring", rewrite_fences, priority=100)  # before napoleon
    app.connect("doctree-read", mean_the_core)
    app.connect("doctree-read", show_outputs)
    app.connect("missing-reference", find_public_name)
