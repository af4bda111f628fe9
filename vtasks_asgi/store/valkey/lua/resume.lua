#!lua flags=allow-oom
-- Forgets a pause, and rings.
-- KEYS: pause idle
-- ARGV: what is paused
-- Returns: 1 if the pause was in force, else 0
-- Invariant: whoever waits hears of it, for claims of a paused queue do not ask to be rung for.
-- INCLUDE: lib_pause
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local ends = pause_end(redis.call('HGET', KEYS[1], ARGV[1]), now)
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
redis.call('PUBLISH', KEYS[2], '')
return ends and 1 or 0
