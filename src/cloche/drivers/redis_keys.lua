-- Who may answer the call with an idempotency key. A key is a hash: digest, owner, until (microseconds), answer.
-- KEYS: the key. ARGV: what is asked, the owner, then as each question says.
local key, what, owner = KEYS[1], ARGV[1], ARGV[2]
if what == 'claim' then -- digest, now, until, milliseconds that Redis keeps it
    local held = redis.call('HMGET', key, 'digest', 'until', 'answer')
    if held[1] and tonumber(held[2]) > tonumber(ARGV[4]) then
        return {held[1], held[3] or ''}
    end
    redis.call('DEL', key)
    redis.call('HSET', key, 'digest', ARGV[3], 'owner', owner, 'until', ARGV[5])
    redis.call('PEXPIRE', key, ARGV[6])
    return {}
end
if redis.call('HGET', key, 'owner') ~= owner or redis.call('HEXISTS', key, 'answer') == 1 then
    return 0
end
if what == 'settle' then -- answer, until, milliseconds
    redis.call('HSET', key, 'answer', ARGV[3], 'until', ARGV[4])
    redis.call('PEXPIRE', key, ARGV[5])
else
    redis.call('DEL', key)
end
return 1
