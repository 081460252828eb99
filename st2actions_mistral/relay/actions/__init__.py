"""Reconcile pending actions with their child executions."""
