#!lua flags=allow-oom
-- Takes members out of a group: those whose messages were refused.
-- KEYS: g: m:
-- ARGV: ids of members
-- Returns: plan, total, pending, failed, at if no member is pending and it is not closed, else false
-- Invariant: total is the number of members.
-- INCLUDE: lib_group
local G, M = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local gone = 0
for i = 1, #ARGV do
  local score = redis.call('ZSCORE', M, ARGV[i])
  if score and tonumber(score) % 4 == 0 then gone = gone + redis.call('ZREM', M, ARGV[i]) end
end
if gone > 0 then
  local counts = redis.call('HMGET', G, 'total', 'pending')
  redis.call('HSET', G, 'total', counts[1] - gone, 'pending', counts[2] - gone)
end
return completed(G, now) or false
