BEGIN;

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

-- Running upgrade  -> 0001

CREATE TABLE tasks (
    id UUID NOT NULL,
    seq BIGINT NOT NULL,
    name VARCHAR NOT NULL,
    category VARCHAR NOT NULL,
    priority INTEGER NOT NULL,
    status VARCHAR DEFAULT 'pending' NOT NULL,
    attempt INTEGER DEFAULT 0 NOT NULL,
    retry_count INTEGER DEFAULT 0 NOT NULL,
    max_retries INTEGER NOT NULL,
    crashes INTEGER DEFAULT 0 NOT NULL,
    args VARCHAR NOT NULL,
    kwargs VARCHAR NOT NULL,
    options VARCHAR,
    unique_key VARCHAR,
    run_at TIMESTAMP WITHOUT TIME ZONE,
    created_at TIMESTAMP WITHOUT TIME ZONE NOT NULL,
    started_at TIMESTAMP WITHOUT TIME ZONE,
    completed_at TIMESTAMP WITHOUT TIME ZONE,
    elapsed_seconds DOUBLE PRECISION,
    worker VARCHAR,
    result VARCHAR,
    error VARCHAR,
    error_type VARCHAR,
    progress DOUBLE PRECISION DEFAULT 0 NOT NULL,
    progress_message VARCHAR DEFAULT '' NOT NULL,
    version BIGINT NOT NULL
);

CREATE TABLE transitions (
    seq BIGINT NOT NULL,
    task_id UUID NOT NULL,
    attempt INTEGER NOT NULL,
    from_status VARCHAR,
    to_status VARCHAR NOT NULL,
    occurred_at TIMESTAMP WITHOUT TIME ZONE NOT NULL,
    worker VARCHAR,
    reason VARCHAR NOT NULL,
    error VARCHAR,
    data VARCHAR
);

CREATE TABLE meta (
    key VARCHAR NOT NULL,
    value VARCHAR NOT NULL
);

INSERT INTO meta (key, value) VALUES ('folded', '0');

CREATE VIEW history AS
SELECT
    transitions.seq,
    transitions.task_id,
    tasks.name,
    tasks.category,
    transitions.attempt,
    transitions.from_status,
    transitions.to_status,
    transitions.occurred_at,
    transitions.worker,
    transitions.reason,
    transitions.error,
    transitions.data ->> '$.error_type' AS error_type,
    transitions.data ->> '$.traceback' AS traceback,
    CAST(transitions.data -> '$.result' AS VARCHAR) AS result,
    transitions.data
FROM transitions
LEFT JOIN tasks ON tasks.id = transitions.task_id;

CREATE VIEW task_times AS
WITH attempts AS (
    SELECT
        task_id,
        attempt,
        min(occurred_at) FILTER (to_status = 'started') AS started_at,
        max(occurred_at) FILTER (from_status = 'started' AND to_status <> 'started') AS ended_at
    FROM transitions
    WHERE to_status = 'started' OR from_status = 'started'
    GROUP BY task_id, attempt
),
runs AS (
    SELECT
        task_id,
        count(started_at) AS attempts,
        min(started_at) AS first_started_at,
        sum(epoch(ended_at - started_at)) AS run_seconds
    FROM attempts
    GROUP BY task_id
),
due AS (
    SELECT task_id, CAST(data ->> '$.run_at' AS TIMESTAMP) AS run_at
    FROM transitions
    WHERE from_status IS NULL
),
times AS (
    SELECT
        tasks.*,
        greatest(tasks.created_at, due.run_at) AS due_at,
        coalesce(runs.attempts, 0) AS attempts,
        coalesce(runs.first_started_at, tasks.started_at) AS first_started_at,
        coalesce(runs.run_seconds, tasks.elapsed_seconds) AS run_seconds
    FROM tasks
    LEFT JOIN runs ON runs.task_id = tasks.id
    LEFT JOIN due ON due.task_id = tasks.id
)
SELECT
    id AS task_id,
    name,
    category,
    priority,
    status,
    attempts,
    created_at,
    due_at,
    first_started_at,
    completed_at,
    epoch(first_started_at - due_at) AS wait_seconds,
    run_seconds,
    epoch(completed_at - due_at) AS total_seconds
FROM times;

CREATE VIEW latency AS
SELECT
    category,
    name,
    date_trunc('hour', completed_at) AS hour,
    count(*) AS tasks,
    quantile_cont(wait_seconds, 0.50) AS wait_p50,
    quantile_cont(wait_seconds, 0.95) AS wait_p95,
    quantile_cont(wait_seconds, 0.99) AS wait_p99,
    quantile_cont(run_seconds, 0.50) AS run_p50,
    quantile_cont(run_seconds, 0.95) AS run_p95,
    quantile_cont(run_seconds, 0.99) AS run_p99,
    quantile_cont(total_seconds, 0.50) AS total_p50,
    quantile_cont(total_seconds, 0.95) AS total_p95,
    quantile_cont(total_seconds, 0.99) AS total_p99
FROM task_times
WHERE status IN ('success', 'failed')
GROUP BY category, name, hour;

CREATE VIEW backlog AS
WITH clock AS (
    SELECT make_timestamp(epoch_us(now())) AS utc
)
SELECT
    category,
    priority,
    status,
    count(*) AS tasks,
    count(*) FILTER (coalesce(run_at, created_at) <= utc) AS due,
    min(created_at) AS oldest_created_at,
    epoch(max(utc) - min(created_at)) AS oldest_age_seconds
FROM tasks
CROSS JOIN clock
WHERE status IN ('pending', 'started', 'retry')
GROUP BY category, priority, status;

CREATE VIEW failures AS
WITH failed AS (
    SELECT
        tasks.name,
        transitions.data ->> '$.error_type' AS error_type,
        coalesce(transitions.error, '') AS error,
        transitions.task_id,
        transitions.occurred_at,
        transitions.to_status = 'failed' AS final
    FROM transitions
    JOIN tasks ON tasks.id = transitions.task_id
    WHERE transitions.to_status IN ('failed', 'retry')
),
prints AS (
    SELECT
        *,
        regexp_replace(
            regexp_replace(
                regexp_replace(
                    error,
                    '[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}', '<uuid>', 'g'
                ),
                '0[xX][0-9a-fA-F]+|\b[0-9a-fA-F]*([0-9][a-fA-F]|[a-fA-F][0-9])[0-9a-fA-F]*\b',
                '<hex>', 'g'
            ),
            '[0-9]+', '<n>', 'g'
        ) AS fingerprint
    FROM failed
)
SELECT
    name,
    error_type,
    fingerprint,
    count(*) AS failures,
    count(*) FILTER (final) AS final_failures,
    count(DISTINCT task_id) AS tasks,
    min(occurred_at) AS first_seen,
    max(occurred_at) AS last_seen,
    arg_max(task_id, occurred_at) AS sample_task_id,
    arg_max(error, occurred_at) AS sample_error
FROM prints
GROUP BY name, error_type, fingerprint;

INSERT INTO alembic_version (version_num) VALUES ('0001') RETURNING alembic_version.version_num;

-- Running upgrade 0001 -> 0002

DROP VIEW latency;

DROP VIEW task_times;

DROP VIEW backlog;

ALTER TABLE tasks ADD COLUMN waiting BOOLEAN DEFAULT false;

ALTER TABLE tasks ADD COLUMN depends_on VARCHAR;

ALTER TABLE tasks ADD COLUMN flow_id UUID;

ALTER TABLE tasks ADD COLUMN schedule VARCHAR;

ALTER TABLE tasks ADD COLUMN scheduled_for TIMESTAMP WITHOUT TIME ZONE;

CREATE TABLE schedules (
    name VARCHAR NOT NULL,
    task VARCHAR NOT NULL,
    category VARCHAR NOT NULL,
    priority INTEGER NOT NULL,
    max_retries INTEGER NOT NULL,
    args VARCHAR NOT NULL,
    kwargs VARCHAR NOT NULL,
    options VARCHAR,
    trigger VARCHAR NOT NULL,
    misfire VARCHAR NOT NULL,
    misfire_limit INTEGER NOT NULL,
    misfire_grace DOUBLE PRECISION NOT NULL,
    overlap VARCHAR NOT NULL,
    jitter DOUBLE PRECISION NOT NULL,
    start_at TIMESTAMP WITHOUT TIME ZONE,
    end_at TIMESTAMP WITHOUT TIME ZONE,
    run_on_start BOOLEAN NOT NULL,
    depends_on VARCHAR,
    run_as VARCHAR,
    origin VARCHAR NOT NULL,
    paused_at TIMESTAMP WITHOUT TIME ZONE,
    paused_reason VARCHAR,
    next_fire_at TIMESTAMP WITHOUT TIME ZONE,
    last_fire_at TIMESTAMP WITHOUT TIME ZONE,
    last_task_id UUID,
    missed BIGINT NOT NULL,
    skipped BIGINT NOT NULL,
    created_at TIMESTAMP WITHOUT TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITHOUT TIME ZONE NOT NULL
);

CREATE VIEW task_times AS
WITH attempts AS (
    SELECT
        task_id,
        attempt,
        min(occurred_at) FILTER (to_status = 'started') AS started_at,
        max(occurred_at) FILTER (from_status = 'started' AND to_status <> 'started') AS ended_at
    FROM transitions
    WHERE to_status = 'started' OR from_status = 'started'
    GROUP BY task_id, attempt
),
runs AS (
    SELECT
        task_id,
        count(started_at) AS attempts,
        min(started_at) AS first_started_at,
        sum(epoch(ended_at - started_at)) AS run_seconds
    FROM attempts
    GROUP BY task_id
),
due AS (
    SELECT task_id, CAST(data ->> '$.run_at' AS TIMESTAMP) AS run_at
    FROM transitions
    WHERE from_status IS NULL
),
edges AS (
    SELECT id AS task_id, CAST(unnest(CAST(depends_on AS JSON[])) ->> '$' AS UUID) AS parent_id
    FROM tasks
    WHERE depends_on IS NOT NULL
),
freed AS (
    SELECT edges.task_id, max(parents.completed_at) AS freed_at
    FROM edges
    JOIN tasks AS parents ON parents.id = edges.parent_id
    GROUP BY edges.task_id
),
times AS (
    SELECT
        tasks.*,
        greatest(
            tasks.created_at,
            due.run_at,
            -- A parent may end after what depends on it: one that failed at once, or runs anyway.
            CASE
                WHEN freed.freed_at IS NOT NULL
                THEN least(freed.freed_at, runs.first_started_at, tasks.completed_at)
            END
        ) AS due_at,
        coalesce(runs.attempts, 0) AS attempts,
        coalesce(runs.first_started_at, tasks.started_at) AS first_started_at,
        coalesce(runs.run_seconds, tasks.elapsed_seconds) AS run_seconds
    FROM tasks
    LEFT JOIN runs ON runs.task_id = tasks.id
    LEFT JOIN due ON due.task_id = tasks.id
    LEFT JOIN freed ON freed.task_id = tasks.id
)
SELECT
    id AS task_id,
    name,
    category,
    priority,
    status,
    attempts,
    created_at,
    due_at,
    first_started_at,
    completed_at,
    epoch(first_started_at - due_at) AS wait_seconds,
    run_seconds,
    epoch(completed_at - due_at) AS total_seconds
FROM times;

CREATE VIEW latency AS
SELECT
    category,
    name,
    date_trunc('hour', completed_at) AS hour,
    count(*) AS tasks,
    quantile_cont(wait_seconds, 0.50) AS wait_p50,
    quantile_cont(wait_seconds, 0.95) AS wait_p95,
    quantile_cont(wait_seconds, 0.99) AS wait_p99,
    quantile_cont(run_seconds, 0.50) AS run_p50,
    quantile_cont(run_seconds, 0.95) AS run_p95,
    quantile_cont(run_seconds, 0.99) AS run_p99,
    quantile_cont(total_seconds, 0.50) AS total_p50,
    quantile_cont(total_seconds, 0.95) AS total_p95,
    quantile_cont(total_seconds, 0.99) AS total_p99
FROM task_times
WHERE status IN ('success', 'failed')
GROUP BY category, name, hour;

CREATE VIEW backlog AS
WITH clock AS (
    SELECT make_timestamp(epoch_us(now())) AS utc
)
SELECT
    category,
    priority,
    status,
    count(*) AS tasks,
    count(*) FILTER (coalesce(run_at, created_at) <= utc AND waiting IS NOT TRUE) AS due,
    count(*) FILTER (waiting) AS waiting,
    min(created_at) AS oldest_created_at,
    epoch(max(utc) - min(created_at)) AS oldest_age_seconds
FROM tasks
CROSS JOIN clock
WHERE status IN ('pending', 'started', 'retry')
GROUP BY category, priority, status;

CREATE VIEW dependencies AS
WITH edges AS (
    SELECT
        id AS task_id,
        name,
        status,
        waiting,
        options ->> '$.on_parent_failure' AS on_parent_failure,
        CAST(unnest(CAST(depends_on AS JSON[])) ->> '$' AS UUID) AS parent_id
    FROM tasks
    WHERE depends_on IS NOT NULL
)
SELECT
    edges.task_id,
    edges.name,
    edges.status,
    edges.waiting,
    coalesce(edges.on_parent_failure, 'cancel') AS on_parent_failure,
    edges.parent_id,
    parents.name AS parent_name,
    parents.status AS parent_status
FROM edges
LEFT JOIN tasks AS parents ON parents.id = edges.parent_id;

CREATE VIEW flows AS
SELECT
    flow_id,
    count(*) AS tasks,
    count(*) FILTER (status IN ('success', 'failed', 'cancelled')) AS ended,
    count(*) FILTER (status = 'success') AS succeeded,
    count(*) FILTER (status = 'failed') AS failed,
    count(*) FILTER (status = 'cancelled') AS cancelled,
    count(*) FILTER (status = 'started') AS running,
    count(*) FILTER (waiting) AS waiting,
    min(created_at) AS created_at,
    min(started_at) AS first_started_at,
    CASE WHEN count(*) = count(completed_at) THEN max(completed_at) END AS completed_at
FROM tasks
WHERE flow_id IS NOT NULL
GROUP BY flow_id;

CREATE VIEW schedule_runs AS
SELECT
    schedule,
    scheduled_for,
    id AS task_id,
    name,
    category,
    status,
    created_at,
    started_at,
    completed_at,
    epoch(created_at - scheduled_for) AS late_seconds,
    elapsed_seconds AS run_seconds,
    error
FROM tasks
WHERE schedule IS NOT NULL;

UPDATE alembic_version SET version_num='0002' WHERE alembic_version.version_num = '0001';

-- Running upgrade 0002 -> 0003

CREATE TABLE rules (
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    value VARCHAR NOT NULL,
    updated_at TIMESTAMP WITHOUT TIME ZONE NOT NULL
);

CREATE TABLE task_logs (
    task_id UUID NOT NULL,
    attempt INTEGER NOT NULL,
    number INTEGER NOT NULL,
    logged_at TIMESTAMP WITHOUT TIME ZONE NOT NULL,
    level VARCHAR NOT NULL,
    logger VARCHAR NOT NULL,
    message VARCHAR NOT NULL
);

UPDATE alembic_version SET version_num='0003' WHERE alembic_version.version_num = '0002';

-- Running upgrade 0003 -> 0004

CREATE TABLE refused_records (
    position BIGINT NOT NULL,
    record VARCHAR NOT NULL,
    error VARCHAR NOT NULL,
    refused_at TIMESTAMP WITHOUT TIME ZONE NOT NULL
);

UPDATE alembic_version SET version_num='0004' WHERE alembic_version.version_num = '0003';

-- Running upgrade 0004 -> 0005

DROP VIEW failures;

CREATE VIEW failures AS
WITH failed AS (
    SELECT
        tasks.name,
        transitions.data ->> '$.error_type' AS error_type,
        coalesce(transitions.error, '') AS error,
        coalesce(transitions.data ->> '$.roots', transitions.error, '') AS roots,
        transitions.task_id,
        transitions.occurred_at,
        transitions.to_status = 'failed' AS final
    FROM transitions
    JOIN tasks ON tasks.id = transitions.task_id
    WHERE transitions.to_status IN ('failed', 'retry')
),
prints AS (
    SELECT
        *,
        regexp_replace(
            regexp_replace(
                regexp_replace(
                    roots,
                    '[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}', '<uuid>', 'g'
                ),
                '0[xX][0-9a-fA-F]+|\b[0-9a-fA-F]*([0-9][a-fA-F]|[a-fA-F][0-9])[0-9a-fA-F]*\b',
                '<hex>', 'g'
            ),
            '[0-9]+', '<n>', 'g'
        ) AS fingerprint
    FROM failed
)
SELECT
    name,
    error_type,
    fingerprint,
    count(*) AS failures,
    count(*) FILTER (final) AS final_failures,
    count(DISTINCT task_id) AS tasks,
    min(occurred_at) AS first_seen,
    max(occurred_at) AS last_seen,
    arg_max(task_id, occurred_at) AS sample_task_id,
    arg_max(error, occurred_at) AS sample_error
FROM prints
GROUP BY name, error_type, fingerprint;

UPDATE alembic_version SET version_num='0005' WHERE alembic_version.version_num = '0004';

-- Running upgrade 0005 -> 0006

CREATE TABLE results (
    seq BIGINT NOT NULL,
    task_id UUID NOT NULL,
    result VARCHAR NOT NULL
);

UPDATE alembic_version SET version_num='0006' WHERE alembic_version.version_num = '0005';

-- Running upgrade 0006 -> 0007

CREATE TABLE acts (
    number BIGINT NOT NULL,
    verb VARCHAR NOT NULL,
    who VARCHAR NOT NULL,
    origin VARCHAR NOT NULL,
    began_at TIMESTAMP WITHOUT TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITHOUT TIME ZONE,
    selection VARCHAR NOT NULL,
    detail VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    changed BIGINT NOT NULL,
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    undoes BIGINT
);

DROP VIEW failures;

CREATE VIEW failures AS
WITH failed AS (
    SELECT
        tasks.name,
        transitions.data ->> '$.error_type' AS error_type,
        coalesce(transitions.error, '') AS error,
        coalesce(transitions.data ->> '$.roots', transitions.error, '') AS roots,
        transitions.task_id,
        transitions.occurred_at,
        transitions.to_status = 'failed' AS final
    FROM transitions
    JOIN tasks ON tasks.id = transitions.task_id
    WHERE transitions.to_status IN ('failed', 'retry')
        AND transitions.from_status IS DISTINCT FROM 'retry'
),
prints AS (
    SELECT
        *,
        regexp_replace(
            regexp_replace(
                regexp_replace(
                    roots,
                    '[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}', '<uuid>', 'g'
                ),
                '0[xX][0-9a-fA-F]+|\b[0-9a-fA-F]*([0-9][a-fA-F]|[a-fA-F][0-9])[0-9a-fA-F]*\b',
                '<hex>', 'g'
            ),
            '[0-9]+', '<n>', 'g'
        ) AS fingerprint
    FROM failed
)
SELECT
    name,
    error_type,
    fingerprint,
    count(*) AS failures,
    count(*) FILTER (final) AS final_failures,
    count(DISTINCT task_id) AS tasks,
    min(occurred_at) AS first_seen,
    max(occurred_at) AS last_seen,
    arg_max(task_id, occurred_at) AS sample_task_id,
    arg_max(error, occurred_at) AS sample_error
FROM prints
GROUP BY name, error_type, fingerprint;

UPDATE alembic_version SET version_num='0007' WHERE alembic_version.version_num = '0006';

-- Running upgrade 0007 -> 0008

ALTER TABLE tasks ADD COLUMN progress_data VARCHAR;

UPDATE alembic_version SET version_num='0008' WHERE alembic_version.version_num = '0007';

-- Running upgrade 0008 -> 0009

ALTER TABLE schedules ADD COLUMN max_running INTEGER;

ALTER TABLE schedules ADD COLUMN missed_times VARCHAR;

CREATE VIEW missed_times AS
SELECT
    name AS schedule,
    unnest(from_json(missed_times, '["TIMESTAMP"]')) AS planned_at
FROM schedules
WHERE missed_times IS NOT NULL;

UPDATE alembic_version SET version_num='0009' WHERE alembic_version.version_num = '0008';

COMMIT;
