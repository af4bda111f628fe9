#!lua flags=allow-oom
-- Deletes messages of one state, a chunk at a time.
-- KEYS: ready sched dead done t m f h n limits l line
-- ARGV: which of the keys (1 to 4), 'before' in epoch seconds or '', how many to look at, after
--   which rank
-- Returns: how many were deleted, and the rank to go on from, -1 at the end
-- Invariant: an id leaves its set together with everything stored under it.
-- INCLUDE: lib_limits
-- INCLUDE: lib_line
local which, before = tonumber(ARGV[1]), tonumber(ARGV[2])
local SET, T, M, F, H = KEYS[which], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local limit, rank = tonumber(ARGV[3]), tonumber(ARGV[4])
local ids = redis.call('ZRANGE', SET, rank, rank + limit - 1)
if #ids == 0 then return {0, -1} end

local doomed = ids
if before then
  doomed = {}
  -- The age stands in front of the body, or of the fields of what is finished.
  local stamps = redis.call('HMGET', which > 2 and F or T, unpack(ids))
  for i, id in ipairs(ids) do
    local stamp = stamps[i]
    if not stamp or #stamp < 8 or struct.unpack('>d', stamp) < before then
      doomed[#doomed + 1] = id
    end
  end
end
if #doomed > 0 and which < 3 and redis.call('EXISTS', KEYS[10]) == 1 then
  local metas, waiting = redis.call('HMGET', M, unpack(doomed)), {}
  for i, id in ipairs(doomed) do waiting[2 * i - 1], waiting[2 * i] = id, metas[i] end
  forget_waiting(KEYS[10], waiting)
end
if #doomed > 0 then
  redis.call('ZREM', SET, unpack(doomed))
  leave_lines(KEYS[11], KEYS[12], doomed)
  for _, key in ipairs({T, M, F, H, KEYS[9], KEYS[11]}) do redis.call('HDEL', key, unpack(doomed)) end
end
return {#doomed, rank + #ids - #doomed}
