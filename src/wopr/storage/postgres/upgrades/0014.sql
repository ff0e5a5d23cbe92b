-- Tasks that succeeded are listed without a walk over all that wait.
create index tasks_succeeded on wopr.tasks (seq) where status = 'success';
