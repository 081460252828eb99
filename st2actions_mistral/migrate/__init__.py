"""Convert workbooks in Mistral's DSL v2 of 2014 to today's language, for ``st2-mistral convert``."""
