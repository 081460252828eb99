"""Reconcile parent executions with their workflows: completion, cancellation, lost workflows."""
