#!lua flags=allow-oom
-- Deletes results past their time, some unique keys that nobody holds, and paces that are over.
-- KEYS: done t f h u dead n m pace
-- ARGV: limit, cursor of the search for keys
-- Returns: how many results there were, and the next cursor
-- Invariant: only what nobody can see any more is deleted.
-- INCLUDE: lib_unique
local DONE, T, F, H, U, DEAD = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local limit = math.min(tonumber(ARGV[1]), 1000)
local ids = limit > 0 and redis.call('ZRANGEBYSCORE', DONE, '-inf', now, 'LIMIT', 0, limit) or {}
if #ids > 0 then
  redis.call('ZREM', DONE, unpack(ids))
  for _, key in ipairs({T, F, H, KEYS[7]}) do redis.call('HDEL', key, unpack(ids)) end
end
if limit > 0 and redis.call('EXISTS', KEYS[9]) == 1 then
  local over = redis.call('ZRANGEBYSCORE', KEYS[9], '-inf', now, 'LIMIT', 0, limit)
  if #over > 0 then redis.call('ZREM', KEYS[9], unpack(over)) end
end
local cursor = '0'
if limit > 0 and redis.call('EXISTS', U) == 1 then
  local found = redis.call('HSCAN', U, ARGV[2], 'COUNT', 100)
  cursor = found[1]
  for i = 1, #found[2], 2 do
    local key = found[2][i]
    if not key_holder(U, T, KEYS[8], DEAD, DONE, key, now) then redis.call('HDEL', U, key) end
  end
end
return {#ids, cursor}
