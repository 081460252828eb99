"""Tell StackStorm at once what happens in Mistral: a publisher of Mistral's notifications.

Mistral publishes an event once, and does not retry. So the relay stays necessary: it finds what was
lost.
"""
