-- Statements of the SQLite driver, each under its title.

-- title: create_inference
create table if not exists inference (
    id blob primary key,
    format integer not null,
    time_us integer not null,
    model text not null,
    version text not null,
    digest text not null,
    release integer not null,
    variant text,
    reason text not null,
    caller text not null,
    kind text not null,
    outcome text not null,
    fallback text,
    answered_by text,
    rows integer not null,
    timings_us text not null, -- JSON array in the order of cloche.values.Timings
    personal_digest blob not null,
    many integer not null,
    failed integer not null, -- whether the model's traceback is in the personal part
    release_digest text,
    labels text, -- JSON object; null where there is none
    exposure text, -- JSON array in the order of cloche.values.Exposure
    shadows blob,
    hurried integer
) without rowid;

-- title: create_personal
create table if not exists personal (
    id blob primary key,
    time_us integer not null,
    subject text,
    data blob not null -- MessagePack of cloche.values.Personal
);

-- title: create_position
create table if not exists position (
    spool text primary key,
    segment integer not null,
    "offset" integer not null
) without rowid;

-- title: create_rollup
create table if not exists rollup (
    model text not null,
    grain text not null,
    start_us integer not null,
    data blob not null, -- MessagePack of cloche.insight.rollups
    primary key (model, grain, start_us)
);

-- title: create_rollup_seen
-- Up to which row of `personal` all minutes were noted: what lies after it was written by who knows no rollups.
create table if not exists rollup_seen (
    id integer primary key,
    row integer not null
);

-- title: create_rollup_due
-- No id is used twice: a note that is not there any more was taken away by who counted.
create table if not exists rollup_due (
    id integer primary key autoincrement,
    grain text not null,
    start_us integer not null
);

-- title: create_seal
create table if not exists seal (
    spool text not null,
    start integer not null,
    "end" integer not null,
    since_us integer not null,
    until_us integer not null,
    previous blob not null,
    ids blob not null,
    links blob not null,
    format integer not null,
    primary key (spool, start)
);

-- title: column_release_digest
alter table inference add column release_digest text;

-- title: column_labels
alter table inference add column labels text;

-- title: column_exposure
alter table inference add column exposure text;

-- title: column_shadows
alter table inference add column shadows blob;

-- title: column_hurried
alter table inference add column hurried integer;

-- title: index_time
create index if not exists inference_time on inference (time_us);

-- title: index_model_time
create index if not exists inference_model_time on inference (model, time_us);

-- title: index_rollup_start
create index if not exists rollup_start on rollup (grain, start_us);

-- title: index_failed
create index if not exists inference_failed on inference (time_us) where failed;

-- title: index_subject
create index if not exists personal_subject on personal (subject, time_us) where subject is not null;

-- title: index_shadows
create index if not exists inference_shadows on inference (shadows) where shadows is not null;

-- title: index_seal_since
create index if not exists seal_since on seal (since_us);

-- title: has_seals
select exists (select 1 from sqlite_master where name = 'seal');

-- title: note_unsealed
-- What was there before there were seals.
insert into seal (spool, start, "end", since_us, until_us, previous, ids, links, format)
select '', 0, 0, since_us, until_us, x'', x'', x'', 1
from (select min(time_us) as since_us, max(time_us) as until_us from inference) where since_us is not null;

-- title: keep_seal
insert into seal (spool, start, "end", since_us, until_us, previous, ids, links, format)
select ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9
where ?2 = (select coalesce(max("end"), 0) from seal where spool = ?1);

-- title: last_seal
select spool, start, since_us, until_us, previous, ids, links, format from seal
where spool = ? order by start desc limit 1;

-- title: seals
select spool, start, since_us, until_us, previous, ids, links, format from seal order by since_us, start;

-- title: seals_of_moment
select spool, start, since_us, until_us, previous, ids, links, format from seal
where since_us <= ? and until_us >= ? order by since_us, start;

-- title: keep_personal
-- Comes before keep_inference: the personal part of a known inference may have been erased, and stays so.
insert or ignore into personal (id, time_us, subject, data)
select ?1, ?2, ?3, ?4 where not exists (select 1 from inference where id = ?1);

-- title: keep_inference
insert or ignore into inference (
    id, format, time_us, model, version, digest, release, variant, reason, caller, kind, outcome, fallback,
    answered_by, rows, timings_us, personal_digest, many, failed, release_digest, labels, exposure, shadows,
    hurried
) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- title: erase
-- A tombstone is a map of MessagePack, and its first byte says so; a personal part is an array.
insert into personal (id, time_us, subject, data)
select i.id, i.time_us, null, ?2 from inference i where i.id = ?1
on conflict (id) do update set subject = null, data = excluded.data
where not substr(personal.data, 1, 1) between x'80' and x'8f';

-- title: note_due
insert into rollup_due (grain, start_us) values (?, ?);

-- title: note_past
-- All that was written before there were rollups.
insert into rollup_due (grain, start_us)
select 'past', time_us - time_us % 60000000 + 60000000 from inference order by time_us desc limit 1;

-- title: note_unseen
insert into rollup_due (grain, start_us)
select distinct 'minute', time_us - time_us % 60000000 from personal where rowid > (select row from rollup_seen);

-- title: see
insert or replace into rollup_seen (id, row) select 1, coalesce(max(rowid), 0) from personal;

-- title: has_rollups
select exists (select 1 from sqlite_master where type = 'table' and name = 'rollup_due');

-- title: due
select id, grain, start_us from rollup_due
order by case grain when 'minute' then 0 when 'hour' then 1 when 'day' then 2 else 3 end, start_us desc limit ?;

-- title: take_note
delete from rollup_due where id = ?;

-- title: keep_rollup
insert or replace into rollup (model, grain, start_us, data) values (?, ?, ?, ?);

-- title: rollups
select model, grain, start_us, data from rollup where grain = ? and start_us >= ? and start_us < ? order by start_us;

-- title: rollups_of_model
select model, grain, start_us, data from rollup
where model = ? and grain = ? and start_us >= ? and start_us < ? order by start_us;

-- title: keep_position
insert or replace into position (spool, segment, "offset") values (?, ?, ?);

-- title: retire_position
delete from position where spool = ?;

-- title: positions
select spool, segment, "offset" from position;

-- title: records
select
    i.id, i.format, i.time_us, i.model, i.version, i.digest, i.release, i.variant, i.reason, i.caller, i.kind,
    i.outcome, i.fallback, i.answered_by, i.rows, i.timings_us, i.personal_digest, i.many, i.release_digest, i.labels,
    i.exposure, i.shadows, i.hurried, i.failed, p.subject, p.time_us, p.data

-- title: is_shadowed
(i.shadows is not null or exists (select 1 from inference s where s.shadows = i.id))

-- title: of_failing_model
-- The plus keeps SQLite from the index by model: failures are few, and have one of their own.
+i.model = ?

-- title: fell_back
i.answered_by is not null

-- title: has_experiment
json_extract(i.exposure, '$[0]') = ?

-- title: has_label
exists (select 1 from json_each(i.labels) each where each.key = ? and each.value = ?)

-- title: taken_us
(select sum(each.value) from json_each(i.timings_us) each)

-- title: of_envelopes
from inference i

-- title: of_all
from inference i left join personal p on p.id = i.id

-- title: of_subject
-- The cross join makes SQLite begin with the subject.
from personal p cross join inference i on i.id = p.id
