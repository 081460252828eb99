"""StackStorm actions as tasks of OpenStack Mistral workflows, and back."""
