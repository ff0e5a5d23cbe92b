-- Tasks that failed, were cancelled or are to be tried again are found among millions of others.
create index tasks_seldom on wopr.tasks (status, seq)
where status in ('failed', 'cancelled', 'retry');
