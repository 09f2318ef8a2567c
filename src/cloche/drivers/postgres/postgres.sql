-- Statements of the PostgreSQL driver, each under its title. The tables are made in migrations/versions.

-- title: revision
select version_num from cloche.alembic_version;

-- title: limit_query
-- The halves of a record are looked up for each other: tables that were not analyzed yet mislead to reading them whole.
-- To start parallel workers, or to compile a query, takes longer than to read what a page holds.
select
    set_config('statement_timeout', %s, true),
    set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true),
    set_config('max_parallel_workers_per_gather', '0', true),
    set_config('jit', 'off', true);

-- title: limit_write
-- A commit counts once it is on the disk, whatever the database is set to.
select
    set_config('statement_timeout', %s, true),
    set_config('synchronous_commit', case current_setting('synchronous_commit') when 'off' then 'on'
        else current_setting('synchronous_commit') end, true);

-- title: limit_wait
select set_config('lock_timeout', %s, true), pg_advisory_xact_lock(%s);

-- title: what_is_there
-- Whether there is a log, and what a restore has said of it.
select
    exists (select 1 from pg_class where relnamespace = to_regnamespace('cloche')),
    obj_description(to_regnamespace('cloche')::oid, 'pg_namespace');

-- title: create_schema
-- By who may; who owns one that is there need not be allowed to create another.
do $$ begin
    if to_regnamespace('cloche') is null then create schema cloche; end if;
end $$;

-- title: comment_schema
comment on schema cloche is {};

-- title: is_attached
select exists (select 1 from pg_inherits where inhrelid = to_regclass(%s));

-- title: create_month
create table if not exists {month} (like {whole} including all);

-- title: attach_month
-- Attached and not created as a partition: that would wait for all who read, and hold up all who come after.
alter table {whole} attach partition {month} for values from ({start}) to ({end});

-- title: sample_nobody
-- The statistics for the planner would repeat what some rows say of people. It goes down to all months there are.
alter table {whole} alter column subject set statistics 0, alter column data set statistics 0;

-- title: has_samples
select exists (
    select 1 from pg_stats where schemaname = %s and starts_with(tablename, %s) and attname in ('subject', 'data', 'answer')
);

-- title: unsample_personal
-- To give a column the type that it has rewrites nothing, and lets go of its statistics.
alter table cloche.personal
    alter column subject type text, alter column subject set statistics 0,
    alter column data type bytea, alter column data set statistics 0;

-- title: unsample_claim
alter table cloche_keys.claim alter column answer type bytea, alter column answer set statistics 0;

-- title: rewrite_statistics
vacuum (full) pg_catalog.pg_statistic;

-- title: stage
-- Its name has the format of the database, since a pooler may hand on a connection that has one already.
create temporary table if not exists {staging} (
    id uuid, time_us bigint, format integer, model text, version text, digest text, release bigint, variant text,
    reason text, caller text, kind text, outcome text, fallback text, answered_by text, rows integer,
    timings_us text, personal_digest bytea, many boolean, failed boolean, release_digest text, labels text,
    exposure text, shadows uuid, hurried boolean, subject text, data bytea
) on commit delete rows;

-- title: copy
copy {staging} from stdin (format binary);

-- title: merge
-- A personal part is kept with a new envelope alone: that of a known inference may have been erased, and stays so.
with fresh as (
    insert into cloche.inference (
        id, time_us, format, model, version, digest, release, variant, reason, caller, kind, outcome, fallback,
        answered_by, rows, timings_us, personal_digest, many, failed, release_digest, labels, exposure, shadows, hurried
    )
    select
        id, time_us, format, model, version, digest, release, variant, reason, caller, kind, outcome, fallback,
        answered_by, rows, timings_us::bigint[], personal_digest, many, failed, release_digest, labels::json,
        exposure::json, shadows, hurried
    from {staging}
    on conflict do nothing
    returning time_us, id
),
personal as (
    insert into cloche.personal (id, time_us, subject, data)
    select staged.id, staged.time_us, staged.subject, staged.data
    from {staging} staged join fresh using (time_us, id)
    where staged.data is not null
    on conflict do nothing
)
select count(*) from fresh;

-- title: erase
-- A tombstone is a map of MessagePack, and its first byte says so; a personal part is an array.
insert into cloche.personal as kept (id, time_us, subject, data)
select id, time_us, null, %s from cloche.inference where time_us between %s and %s and id = any(%s)
on conflict (id, time_us) do update set subject = null, data = excluded.data
where get_byte(kept.data, 0) not between 128 and 143;

-- title: rewrite
-- A plain vacuum leaves the bytes where they are, until something else is written over them. It copies what an open
-- transaction may still read, and says of how many rows.
vacuum (full, verbose) {table};

-- title: months_of_persons
select inhrelid::regclass::text from pg_inherits where inhparent = to_regclass('cloche.personal') order by 1;

-- title: limit_rewrite
select set_config('lock_timeout', %s, false), set_config('statement_timeout', '0', false);

-- title: keep_position
-- Of two that ship the same spool, the one behind does not take it back.
insert into cloche.position (spool, segment, "offset") values (%s, %s, %s)
on conflict (spool) do update set segment = excluded.segment, "offset" = excluded."offset"
where (position.segment, position."offset") < (excluded.segment, excluded."offset");

-- title: retire_position
delete from cloche.position where spool = %s;

-- title: positions
select spool, segment, "offset" from cloche.position;

-- title: keep_seal
insert into cloche.seal (spool, start, "end", since_us, until_us, previous, ids, links, format)
select %s, %s, %s, %s, %s, %s, %s, %s, %s
where %s = (select coalesce(max("end"), 0) from cloche.seal where spool = %s);

-- title: last_seal
select spool, start, since_us, until_us, previous, ids, links, format from cloche.seal
where spool = %s order by start desc limit 1;

-- title: seals
select spool, start, since_us, until_us, previous, ids, links, format from cloche.seal order by since_us, start;

-- title: seals_of_moment
select spool, start, since_us, until_us, previous, ids, links, format from cloche.seal
where since_us <= %s and until_us >= %s order by since_us, start;

-- title: has_seals
select to_regclass('cloche.seal') is not null;

-- title: records
-- In the order of cloche.values.Record, and then what finds a personal part.
select
    i.format, i.id, i.time_us, i.model, i.version, i.digest, i.release, i.variant, i.reason, i.caller, i.kind,
    i.outcome, i.fallback, i.answered_by, i.rows, i.timings_us, i.personal_digest, p.data, i.many, i.release_digest,
    i.labels, i.exposure, i.shadows, i.hurried, p.subject, i.failed

-- title: page
-- A length is known of a personal part without reading it.
select * from (
    select
        *,
        coalesce(sum(octet_length(data)) over (
            order by time_us desc, id desc rows between unbounded preceding and 1 preceding
        ), 0) as before
    from ({found}) found
) page
where before <= %s order by time_us desc, id desc

-- title: of_all
from cloche.inference i left join cloche.personal p on p.time_us = i.time_us and p.id = i.id

-- title: of_subject
from cloche.personal p join cloche.inference i on i.time_us = p.time_us and i.id = p.id

-- title: of_envelopes
from cloche.inference i

-- title: is_shadowed
-- A shadow has the time of the inference that it was asked beside.
(i.shadows is not null
    or exists (select 1 from cloche.inference s where s.shadows = i.id and s.time_us = i.time_us))

-- title: has_experiment
i.exposure ->> 0 = %s

-- title: has_label
i.labels ->> %s = %s

-- title: taken_us
(select sum(station) from unnest(i.timings_us) station)

-- title: faults
select format('%s of its checksums did not fit, last at %s', checksum_failures, checksum_last_failure)
from pg_stat_database where datname = current_database() and checksum_failures > 0
union all
select format('%s is off: what it keeps may be lost with the power', name)
from pg_settings where name in ('fsync', 'full_page_writes') and setting = 'off'
union all
select format('the index %s is not valid', indexrelid::regclass)
from pg_index join pg_class on pg_class.oid = indexrelid
where not indisvalid and relnamespace = to_regnamespace('cloche');

-- title: has_rollups
select to_regclass('cloche.rollup_due') is not null;

-- title: due
select id, grain, start_us from cloche.rollup_due
order by case grain when 'minute' then 0 when 'hour' then 1 when 'day' then 2 else 3 end, start_us desc limit %s;

-- title: take_notes
delete from cloche.rollup_due where id = any(%s);

-- title: keep_rollup
insert into cloche.rollup (model, grain, start_us, data) values (%s, %s, %s, %s)
on conflict (model, grain, start_us) do update set data = excluded.data;

-- title: note_due
insert into cloche.rollup_due (grain, start_us) values (%s, %s);

-- title: rollups
select model, grain, start_us, data from cloche.rollup
where grain = %s and start_us >= %s and start_us < %s order by start_us;

-- title: rollups_of_model
select model, grain, start_us, data from cloche.rollup
where model = %s and grain = %s and start_us >= %s and start_us < %s order by start_us;

-- title: lead
-- Held by a transaction, so that it is one session's through a pooler, too. While idle it keeps nothing from vacuum.
select
    set_config('idle_in_transaction_session_timeout', '0', true),
    set_config('tcp_keepalives_idle', '10', true),
    set_config('tcp_keepalives_interval', '5', true),
    set_config('tcp_keepalives_count', '3', true),
    pg_try_advisory_xact_lock(%s);

-- title: alone_with_keys
-- Two that make one schema at once would fail, though both ask whether it is there.
select pg_advisory_xact_lock(%s);

-- title: create_keys
create schema if not exists cloche_keys;

-- title: create_claim
create table if not exists cloche_keys.claim (
    key bytea primary key,
    digest bytea not null,
    owner bytea not null,
    until_us bigint not null,
    answer bytea,
    inference bytea
);

-- title: index_claim_time
create index if not exists claim_by_time on cloche_keys.claim (until_us);

-- title: index_claim_inference
create index if not exists claim_by_inference on cloche_keys.claim (inference) where inference is not null;

-- title: create_keys_format
create table if not exists cloche_keys.format (number integer primary key);

-- title: keep_keys_format
insert into cloche_keys.format (number) values (%s) on conflict do nothing;

-- title: keys_format
select max(number) from cloche_keys.format;

-- title: claim_key
-- A commit counts once it is on the disk, whatever the database is set to; so in all that follow.
with durably as materialized (
    select set_config('synchronous_commit', case current_setting('synchronous_commit') when 'off' then 'on'
        else current_setting('synchronous_commit') end, true)
)
insert into cloche_keys.claim as held (key, digest, owner, until_us)
select %(key)s, %(digest)s, %(owner)s, %(until_us)s from durably
on conflict (key) do update
set digest = excluded.digest, owner = excluded.owner, until_us = excluded.until_us, answer = null, inference = null
where held.until_us <= %(now_us)s;

-- title: claim_of_key
select digest, answer from cloche_keys.claim where key = %(key)s and until_us > %(now_us)s;

-- title: settle_key
with durably as materialized (
    select set_config('synchronous_commit', case current_setting('synchronous_commit') when 'off' then 'on'
        else current_setting('synchronous_commit') end, true)
)
update cloche_keys.claim set answer = %(answer)s, inference = %(inference)s, until_us = %(until_us)s from durably
where key = %(key)s and owner = %(owner)s and answer is null;

-- title: release_key
delete from cloche_keys.claim where key = %(key)s and owner = %(owner)s and answer is null;

-- title: forget_keys
delete from cloche_keys.claim where inference = any(%(inferences)s);

-- title: expire_keys
delete from cloche_keys.claim where until_us <= %(now_us)s;
