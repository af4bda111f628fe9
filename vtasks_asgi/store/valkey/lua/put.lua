#!lua
-- Stores one plain message: what push.lua would do, for the caller who comes alone, in less time.
-- Refused when the server is out of memory.
-- KEYS: t ready seq idle
-- ARGV: id, body
-- Returns: as push.lua
-- Invariant: an id in t is in exactly one of ready, sched, lease, dead and done.
local call, T, ID = redis.call, KEYS[1], ARGV[1]
if call('HEXISTS', T, ID) == 1 then return {1, '', 0} end
local time = redis.call('TIME')
call('ZADD', KEYS[2], call('INCR', KEYS[3]), ID)
call('HSET', T, ID, struct.pack('>d', time[1] + time[2] / 1000000) .. ARGV[2])
if call('DEL', KEYS[4]) == 1 then call('PUBLISH', KEYS[4], '') end
return {}
