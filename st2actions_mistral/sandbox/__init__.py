"""A whole bridge to try things on: a real Mistral, a StackStorm stand-in and the relay."""
