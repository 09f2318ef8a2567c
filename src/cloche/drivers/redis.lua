-- Adds records to a stream and moves the position of their spool, both or neither, unless somebody else moved that.
-- KEYS: the stream, the positions by spool.
-- ARGV: the spool ('' for none), the position it had, the one it gets, the most entries that the stream may have (0 for
-- any number); then of each record its id, model, time, outcome, and all of it.
-- Returns how many were added, or -1 where the position is another.
local spool, had, gets, most = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if spool ~= '' and (redis.call('HGET', KEYS[2], spool) or '') ~= had then
    return -1
end
for first = 5, #ARGV, 5 do
    local entry = {
        'id', ARGV[first], 'model', ARGV[first + 1], 'time', ARGV[first + 2], 'outcome', ARGV[first + 3],
        'record', ARGV[first + 4],
    }
    if most == '0' then
        redis.call('XADD', KEYS[1], '*', unpack(entry))
    else
        redis.call('XADD', KEYS[1], 'MAXLEN', '~', most, '*', unpack(entry))
    end
end
-- last: a stream that is no stream, or a full memory, stops the script at its first XADD, with nothing done
if spool ~= '' then
    redis.call('HSET', KEYS[2], spool, gets)
end
return (#ARGV - 4) / 5
