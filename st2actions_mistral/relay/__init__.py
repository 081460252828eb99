"""The relay: a daemon beside Mistral that keeps actions and executions of both systems in step.

Start reading at :mod:`daemon`. It connects

- :mod:`watch` (events) and :mod:`resync_loop` (periodic comparisons), which say where to look,
- the controllers in :mod:`actions` (results of pending actions) and :mod:`parents` (ends of workflows),
  each with ``observe`` (read both systems), ``decide`` (pure) and ``controller`` (apply),
- :mod:`workqueue` and :mod:`workers`, through which each controller gets its keys.
"""
