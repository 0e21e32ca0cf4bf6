"""The one thing that pyproject.toml cannot say: an extension module that may be missing."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "trio_closeevents._speedups",
            ["trio_closeevents/_speedups.c"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            py_limited_api=True,
            optional=True,  # without a compiler, the package is built without it
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
