"""The expression functions that workflows use, in YAQL and in Jinja.

Mistral calls each with its own context first: YAQL with a YAQL context, Jinja with a dict. Jinja's
filters get Jinja's context, because each function is marked with ``jinja2.pass_context``. Without that
mark Mistral's filters lose their first argument.
"""
