"""Share between actions, relay and runner what connects one StackStorm with one Mistral."""
