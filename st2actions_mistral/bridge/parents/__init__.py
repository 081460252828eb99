"""Decide about parent executions and their workflows, for the relay and the notifier."""
