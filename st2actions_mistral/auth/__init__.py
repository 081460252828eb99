"""Authenticate the users of Mistral with their StackStorm tokens and API keys.

``server`` is the plugin of Mistral's API (``[DEFAULT] auth_type = st2``). ``client`` is that of
python-mistralclient (``mistral --auth-type st2``).
"""
