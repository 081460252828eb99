"""Name the functions that expressions can use in Mistral 20 to 23.

StackStorm's virtualenv, where the runner checks workflows, has no Mistral to ask. A test compares these
names with those of a real Mistral.
"""

from __future__ import annotations

from typing import Final


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


OWN: Final = _names(
    """
from_json_string from_yaml_string json_escape json_pp jsonpath_query regex_match regex_replace
regex_search regex_substring st2kv to_complex to_human_time_from_seconds to_json_string
to_yaml_string use_none version_bump_major version_bump_minor version_bump_patch version_compare
version_equal version_less_than version_match version_more_than version_strip_patch
    """
)
"""The functions of this package, for YAQL and for Jinja."""

OF_MISTRAL: Final = _names(
    """
env execution executions global json_dump json_parse json_pp task tasks uuid yaml_dump
yaml_parse
    """
)
"""Mistral's own functions for both languages. Mistral 23 has no json_pp."""

YAQL: Final = _names(
    """
abs accumulate add aggregate all any append assert bitwiseAnd bitwiseNot bitwiseOr bitwiseXor
bool call characters coalesce concat contains containsKey containsValue count cycle datetime def
defaultIfEmpty delete deleteAll dict difference distinct endsWith enumerate escapeRegex examine
filter first flatten float format generate generateMany get groupBy hex indexOf indexWhere
insert insertMany int intersect isBoolean isDatetime isDict isEmpty isInteger isIterable isList
isNumber isRegex isSet isString isTimespan items join keys last lastIndexOf lastIndexWhere len
let limit list localtz map matches max memorize mergeWith min norm now orderBy orderByDescending
pow random range reduce regex remove repeat replace replaceBy replaceMany reverse rightSplit
round search searchAll select selectAllCases selectCase selectMany sequence set shiftBitsLeft
shiftBitsRight sign single skip skipWhile slice sliceWhere split splitAt splitWhere startsWith
str substring sum switch switchCase symmetricDifference take takeWhile thenBy thenByDescending
timespan toCharArray toDict toList toLower toSet toUpper trim trimLeft trimRight union unpack
utctz values where with zip zipLongest
    """
)
"""The functions and methods of YAQL 1.1.3 to 3.2.0, which have the same. Mistral 23 has no format."""

JINJA_FUNCTIONS: Final = _names("cycler dict joiner lipsum namespace range")

JINJA_FILTERS: Final = _names(
    """
abs attr batch capitalize center count d default dictsort e escape filesizeformat first float
forceescape format groupby indent int items join last length list lower map max min pprint
random reject rejectattr replace reverse round safe select selectattr slice sort string
striptags sum title tojson trim truncate unique upper urlencode urlize wordcount wordwrap
xmlattr
    """
)

JINJA_TESTS: Final = _names(
    """
boolean callable defined divisibleby eq equalto escaped even false filter float ge greaterthan
gt in integer iterable le lessthan lower lt mapping ne none number odd sameas sequence string
test true undefined upper
    """
)

JINJA_WORDS: Final = _names(
    "and call caller elif else filter for if import in include is loop macro not or recursive self set"
    " super with"
)
"""Words of the language, after which a bracket may follow, and functions within a block."""
