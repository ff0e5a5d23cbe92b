-- A queue has a name of its own, by which a transaction of the application knows its tables.
insert into wopr.meta (key, value) values ('identity', gen_random_uuid()::text)
on conflict do nothing;
