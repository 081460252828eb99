"""Share between actions, relay, notifier and runner what connects one StackStorm with one Mistral."""
