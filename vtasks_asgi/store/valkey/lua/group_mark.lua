#!lua flags=allow-oom
-- Notes how members have ended.
-- KEYS: open g: m:
-- ARGV: id; '1' to leave those alone that are not pending, else ''; id, state of each (1 succeeded, 2
--   failed)
-- Returns: plan, total, pending, failed, at if no member is pending and it is not closed, else false
-- Invariant: pending and failed are the numbers of members in these states.
-- INCLUDE: lib_group
local OPEN, G, M = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local counts = redis.call('HMGET', G, 'pending', 'failed', 'expires')
if not counts[1] then return false end
local pending, failed = tonumber(counts[1]), tonumber(counts[2])
local before = pending
for i = 3, #ARGV, 2 do
  local score, state = tonumber(redis.call('ZSCORE', M, ARGV[i]) or ''), tonumber(ARGV[i + 1])
  local was = score and score % 4
  if was and was ~= state and (was == 0 or ARGV[2] == '') then
    redis.call('ZADD', M, score - was + state, ARGV[i])
    if was == 0 then pending = pending - 1 end
    if was == 2 then failed = failed - 1 end
    if state == 2 then failed = failed + 1 end
  end
end
redis.call('HSET', G, 'pending', pending, 'failed', failed)
if pending == 0 and before > 0 and not counts[3] then
  redis.call('ZADD', OPEN, string.format('%.6f', now), ARGV[1])
end
return completed(G, now) or false
