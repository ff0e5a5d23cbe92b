-- Which tasks failed, and how, is found without reading the history of those that did not.
create index transitions_failed on wopr.transitions (task_id, seq desc)
where to_status in ('failed', 'retry') and from_status is distinct from 'retry';
