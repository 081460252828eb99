"""The runner ``mistral-v2``: run Mistral workflows as StackStorm actions.

StackStorm loads ``mistral_v2``, the only module here that imports StackStorm. The others talk to
Mistral only. The sandbox and the command line use them too.
"""
