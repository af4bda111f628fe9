#!lua flags=allow-oom
-- Notes that what had to follow a group is stored.
-- KEYS: open closed g:
-- ARGV: id
-- Returns: nothing of interest
-- Invariant: a group that is closed is in closed, until it is forgotten.
local OPEN, CLOSED, G = KEYS[1], KEYS[2], KEYS[3]
local found = redis.call('HMGET', G, 'keep', 'expires')
if not found[1] or found[2] then return 0 end
local time = redis.call('TIME')
local expires = string.format('%.6f', time[1] + time[2] / 1000000 + found[1])
redis.call('HSET', G, 'expires', expires)
redis.call('ZADD', CLOSED, expires, ARGV[1])
return redis.call('ZREM', OPEN, ARGV[1])
