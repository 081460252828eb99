"""Print all executions in Mistral's database as JSON: kind, id, name, state, project and root workflow.

It runs in a virtualenv of Mistral, which has the driver. The argument is the path of mistral.conf.
"""

from __future__ import annotations

import json
import sys

from oslo_config import cfg
from sqlalchemy import create_engine, text

QUERY = """
    SELECT 'workflow', id, workflow_name, state, project_id, COALESCE(root_execution_id, id)
    FROM workflow_executions_v2
    UNION ALL
    SELECT 'task', t.id, t.name, t.state, t.project_id, COALESCE(w.root_execution_id, w.id)
    FROM task_executions_v2 t JOIN workflow_executions_v2 w ON w.id = t.workflow_execution_id
    UNION ALL
    SELECT 'action', a.id, a.name, a.state, a.project_id, COALESCE(w.root_execution_id, w.id)
    FROM action_executions_v2 a
    LEFT JOIN task_executions_v2 t ON t.id = a.task_execution_id
    LEFT JOIN workflow_executions_v2 w ON w.id = t.workflow_execution_id
"""


def main() -> None:
    conf = cfg.ConfigOpts()
    conf.register_opt(cfg.StrOpt("connection"), "database")
    conf(["--config-file", sys.argv[1]])
    engine = create_engine(conf.database.connection)
    with engine.connect() as connection:
        print(json.dumps([list(row) for row in connection.execute(text(QUERY))]))
    engine.dispose()


if __name__ == "__main__":
    main()
