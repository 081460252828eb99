"""Compare the known functions with those of a real Mistral."""

from __future__ import annotations

from importlib.metadata import distribution
from typing import Any

import yaql
from jinja2 import Environment
from jinja2.defaults import DEFAULT_NAMESPACE
from yaql.language.contexts import Context
from yaql.language.conventions import CamelCaseConvention
from yaql.language.specs import FunctionDefinition, get_function_definition

from st2actions_mistral.dsl import function_names as names


class Recorder(Context):
    """A context of YAQL that notes the names of the functions registered in it, and below it."""

    def __init__(self, parent: Context | None = None, noted: set[str] | None = None) -> None:
        super().__init__(parent, convention=CamelCaseConvention())
        self.noted: set[str] = set() if noted is None else noted

    def create_child_context(self) -> Recorder:
        return Recorder(self, self.noted)

    def register_function(self, spec: Any, *args: Any, **kwargs: Any) -> None:
        exclusive = kwargs.pop("exclusive", False)
        if not isinstance(spec, FunctionDefinition):
            spec = get_function_definition(spec, *args, convention=self.convention, **kwargs)
        self.noted.add(spec.name)
        super().register_function(spec, exclusive=exclusive)


def functions_of(distribution_name: str) -> set[str]:
    entries = distribution(distribution_name).entry_points
    return {entry.name for entry in entries if entry.group == "mistral.expression.functions"}


def test_functions_of_mistral_and_of_this_package() -> None:
    assert functions_of("st2actions-mistral") == names.OWN
    # Mistral 20 to 22 have json_pp as well.
    assert functions_of("mistral") | {"json_pp"} == names.OF_MISTRAL


def test_functions_of_yaql() -> None:
    recorder = Recorder()
    yaql.create_context(context=recorder)
    assert {name for name in recorder.noted if name.isidentifier()} == names.YAQL


def test_filters_tests_and_functions_of_jinja() -> None:
    environment = Environment(autoescape=True)
    assert set(environment.filters) == names.JINJA_FILTERS
    assert {name for name in environment.tests if name.isidentifier()} == names.JINJA_TESTS
    assert set(DEFAULT_NAMESPACE) == names.JINJA_FUNCTIONS
