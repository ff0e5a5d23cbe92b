-- A claim passes no task that is due later, however many there are.
alter table wopr.tasks add column ready_at timestamp;

comment on column wopr.tasks.ready_at is
    'The run_at that has come: so long as it is the same, the task stands among those that are due';

create index tasks_prompt on wopr.tasks (category, priority desc, place)
where status in ('pending', 'retry') and waiting is not true
    and (run_at is null or run_at = ready_at);

create index tasks_to_come on wopr.tasks (category, run_at)
where status in ('pending', 'retry') and waiting is not true
    and run_at is not null and run_at is distinct from ready_at;
