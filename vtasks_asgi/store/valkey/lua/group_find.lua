#!lua flags=no-writes,allow-oom
-- Reads a group.
-- KEYS: g: m:
-- ARGV: '1' for its members too, else ''
-- Returns: plan, total, pending, failed, at, when it will be forgotten or false; id, place * 4 + state
--   of each member. False when it is not kept
-- Invariant: changes nothing.
-- INCLUDE: lib_group
local time = redis.call('TIME')
local it = told(KEYS[1], time[1] + time[2] / 1000000)
if not it then return false end
return {it, ARGV[1] ~= '' and redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES') or {}}
