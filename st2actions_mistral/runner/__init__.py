"""The runner ``mistral-v2``: Mistral workflows as actions of StackStorm.

``mistral_v2`` is what StackStorm loads, and the only module here that imports StackStorm. The others
talk to Mistral, know nothing of StackStorm's code, and serve the sandbox and the command line as well.
"""
