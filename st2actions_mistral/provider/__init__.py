"""Make StackStorm's actions actions of Mistral (``mistral.action.providers``)."""
