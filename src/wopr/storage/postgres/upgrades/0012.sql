-- Failures are found without the rest of the history; hosts count each other's keys.
create index transitions_failed on wopr.transitions (task_id, seq desc)
where to_status in ('failed', 'retry') and from_status is distinct from 'retry';

alter table wopr.tasks add column keys text;

comment on column wopr.tasks.keys is
    'JSON: what the keys of its limits were when it was claimed, for hosts without its function';
