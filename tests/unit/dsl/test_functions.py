"""Unknown functions in expressions."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.function_examples import EXAMPLES, Example

from st2actions_mistral.dsl.definition import Definition
from st2actions_mistral.dsl.functions import find_unknown, unknown_in
from st2actions_mistral.dsl.lines import line_of

ROOT = Path(__file__).parents[3]


def messages(text: str) -> list[str]:
    return [found.message for found in unknown_in(text)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<% regex_mach($.x, y) %>", "YAQL has no function regex_mach. Did you mean regex_match?"),
        ("<% $.list.tolist() %>", "YAQL has no function tolist. Did you mean toList?"),
        ("<% $.x.to_list() %>", "YAQL has no function to_list. Did you mean toList?"),
        ("<% $.x?.frist() %>", "YAQL has no function frist. Did you mean first?"),
        ("<% jsonDump($.x) %>", "YAQL has no function jsonDump. Did you mean json_dump?"),
        ("<% tsak(a).result %>", "YAQL has no function tsak. Did you mean task?"),
        ("{{ regex_mach(_.x) }}", "Jinja has no function regex_mach. Did you mean regex_match?"),
        (
            "{{ _.x | to_jsn_string }}",
            "Jinja has no filter to_jsn_string. Did you mean to_json_string?",
        ),
        ("{{ _.x|lenght }}", "Jinja has no filter lenght. Did you mean length?"),
        ("{{ _.x is not defind }}", "Jinja has no test defind. Did you mean defined?"),
        ("{% if tsak('a') %}a{% endif %}", "Jinja has no function tsak. Did you mean task?"),
        ("a {{ st2kv.system.x }}", "st2kv.system.KEY works only in a parameter"),
        ("{{ st2kv['system'].x }}", "st2kv.system.KEY works only in a parameter"),
        ("{{ st2kv('x') | decrypt_kv }}", "decrypt_kv is a filter of StackStorm: write st2kv("),
    ],
)
def test_misspelt_function_is_certain(text: str, message: str) -> None:
    (found,) = unknown_in(text)
    assert found.message.startswith(message)
    assert found.is_certain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<% our_company($.x) %>", "YAQL has no function our_company, unless a plugin of Mistral"),
        ("{{ our_company(_.x) }}", "Jinja has no function our_company, unless a plugin of Mistral"),
        ("{{ _.x | our_company }}", "Jinja has no filter our_company, unless a plugin of Mistral"),
    ],
)
def test_function_that_a_plugin_may_bring_is_uncertain(text: str, message: str) -> None:
    (found,) = unknown_in(text)
    assert found.message.startswith(message)
    assert not found.is_certain
    assert unknown_in(text, {"our_company"}) == []


def test_template_for_stackstorm_can_be_skipped() -> None:
    assert unknown_in("{{ st2kv.system.x | decrypt_kv }}", may_be_for_stackstorm=True) == []
    assert unknown_in("{{ 'x' | decrypt_kv }}", may_be_for_stackstorm=True) != []


def test_plugin_makes_a_name_known_that_looks_like_another() -> None:
    assert unknown_in("<% json_dumps($.x) %>") != []
    assert unknown_in("<% json_dumps($.x) %>", ["json_dumps"]) == []
    assert (
        "Did you mean our_function?" in unknown_in("<% our_functoin(1) %>", ["our_function"])[0].message
    )


@pytest.mark.parametrize(
    "text",
    [
        "no expression: regex_mach(x)",
        "<% $.items.select($.name).where($ != 'regex_mach(x)').toList() %>",
        '<% "regex_mach(\\"x\\")" + `tsak()` %>',
        "<% $.regex_mach + $regex_mach %>",
        "<% not ($.a) and ($.b) or ($.c in (1, 2)) %>",
        "<% def(sq, $ * $) -> $.list.select(sq($)) %>",
        "<% def('sq', $ * $) -> sq(3) %>",
        "<% let(f => 3) -> $f + switch($ > 1 => 2) %>",
        "<% dict(a => 1).items().orderBy($[0]) + list(1) %>",
        "<% env().get('__actions', {}).get('st2.action') %>",
        "<% executions(rootExecutionId => 1).len() %>",
        "<%\nregex_mach(1)\n%>",
        "{{ 'regex_mach(x)' }}{{ _.x.regex_mach('y') }}",
        "{{ _.x|default('a')|upper is defined }}",
        "{{ (1 if (2 and (3 or (not (4 in (5,))))) else (6)) }}",
        "{% for x in range(3) recursive %}{{ loop(x) if x is odd else loop.cycle('a') }}{% endfor %}",
        "{% macro hello(name) %}{{ name }}{% endmacro %}{{ hello('a') }}",
        "{% set ns = namespace(a=1) %}{% set f = cycler('a') %}{{ ns.a }}{{ f.next() }}",
        "{% macro f(a=1, item=2) %}{{ item | default('x') }}{{ item is divisibleby(2) }}{% endmacro %}",
        "{% raw %}{{ st2kv.system.x | decrypt_kv }}{% endraw %}",
        "{# regex_mach(1) #}",
        "{{ '}} {{ regex_mach(1) }}' }}",
        '{{ "{{ st2kv.system.x }}" }}',
        "{{ regex_mach(1) without an end",
        "{{ st2kv('system.x', decrypt=true) }} {{ 'system.x' | st2kv }}",
        "{{ _.st2kv.x }} {{ _.x is in [1] }}",
        "{{ [1, 2] | map('upper') | select('odd') | list }}",
    ],
)
def test_known_functions_and_what_is_no_call(text: str) -> None:
    assert messages(text) == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.id)
def test_functions_of_the_documentation_are_known(example: Example) -> None:
    for text in (example.yaql, example.jinja):
        assert messages(text) == []


@pytest.mark.parametrize(
    "path",
    [
        *sorted((ROOT / "examples" / "actions" / "workflows").glob("*.yaml")),
        *sorted((ROOT / "tests" / "data" / "cases").glob("*.yaml")),
    ],
    ids=lambda path: path.stem,
)
def test_working_workflows_have_no_unknown_function(path: Path) -> None:
    assert find_unknown(Definition.parse(path.read_text(), path.name)) == []


BOOK = """\
version: '2.0'
name: book
description: see <% regex_mach(1) %>
actions:
  shout:
    base: std.echo
    base-input:
      output: <% $.text.toupper() %>
    input:
    - text
    output: <% $ %>
workflows:
  main:
    description: "{{ regex_mach(1) }}"
    input:
    - name: <% tsak() %>
    vars:
      description: <% tasc() %>
    output:
      x: "{{ lenght(_.x) }}"
    tasks:
      one:
        description: <% tsak() %>
        with-items: i in <% rang(3) %>
        action: std.echo output=<% srt($.i) %>
        publish:
          deep:
          - more: <% len(contian($.x)) %>
        on-success:
        - two: <% task(one).result.lenn() > 1 %>
      two:
        action: std.noop
        retry:
          count: <% plugged($.n) %>
"""


def test_places_of_unknown_functions() -> None:
    definition = Definition.parse(BOOK, "book.yaml")
    found = [
        (line_of(BOOK, one.problem.path), one.problem.place, one.problem.message.split(".")[0])
        for one in find_unknown(definition)
    ]
    main, one = "workflow book.main", "workflow book.main, task one"
    # Descriptions are not evaluated. A value in a list has the line of the key above the list.
    assert sorted(found) == [
        (8, "action shout", "YAQL has no function toupper"),
        (15, main, "YAQL has no function tsak"),
        (18, main, "YAQL has no function tasc"),
        (20, main, "Jinja has no function lenght, unless a plugin of Mistral brings it"),
        (24, one, "YAQL has no function rang"),
        (25, one, "YAQL has no function srt, unless a plugin of Mistral brings it"),
        (27, one, "YAQL has no function contian"),
        (29, one, "YAQL has no function lenn"),
        (34, f"{main}, task two", "YAQL has no function plugged, unless a plugin of Mistral brings it"),
    ]
