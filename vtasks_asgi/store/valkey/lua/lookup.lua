#!lua flags=no-writes,allow-oom
-- Reads records by id.
-- KEYS: t m own f h ready sched lease dead done n
-- ARGV: ids
-- Returns: now, then for each: body (false when there is no such record), meta, own, fields,
--   history, its scores in ready, sched, lease, dead and done, and note
-- Invariant: changes nothing.
local time = redis.call('TIME')
local now = string.format('%.6f', time[1] + time[2] / 1000000)
local known = redis.call('HMGET', KEYS[1], unpack(ARGV))
local some = false
for i = 1, #ARGV do some = some or known[i] end
if not some then return {now} end
local found = {now, known}
for i = 2, 5 do found[i + 1] = redis.call('HMGET', KEYS[i], unpack(ARGV)) end
for i = 6, 10 do found[i + 1] = redis.call('ZMSCORE', KEYS[i], unpack(ARGV)) end
found[12] = redis.call('HMGET', KEYS[11], unpack(ARGV))
return found
