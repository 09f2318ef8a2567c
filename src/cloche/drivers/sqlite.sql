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

-- title: index_failed
create index if not exists inference_failed on inference (time_us) where failed;

-- title: index_subject
create index if not exists personal_subject on personal (subject, time_us) where subject is not null;

-- title: index_shadows
create index if not exists inference_shadows on inference (shadows) where shadows is not null;

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

-- title: keep_position
insert or replace into position (spool, segment, "offset") values (?, ?, ?);

-- title: retire_position
delete from position where spool = ?;

-- title: positions
select spool, segment, "offset" from position;

-- title: time_of
select time_us from inference where id = ?;

-- title: records
select
    i.id, i.format, i.time_us, i.model, i.version, i.digest, i.release, i.variant, i.reason, i.caller, i.kind,
    i.outcome, i.fallback, i.answered_by, i.rows, i.timings_us, i.personal_digest, i.many, i.release_digest, i.labels,
    i.exposure, i.shadows, i.hurried, p.data

-- title: is_shadowed
(i.shadows is not null or exists (select 1 from inference s where s.shadows = i.id))

-- title: of_all
from inference i left join personal p on p.id = i.id

-- title: of_subject
-- The cross join makes SQLite begin with the subject.
from personal p cross join inference i on i.id = p.id
