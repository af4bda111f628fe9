#!lua flags=allow-oom
-- Makes dead letters of messages that wait, and marks those that run.
-- KEYS: t ready sched lease m f h dead done u c seq n limits l line
-- ARGV: cap of dead letters, ids
-- Returns: for each id 'cancelled', 'asked' (it runs), 'finished' or ''; how many dead letters were
--   evicted
-- Invariant: a mark in c is on what has a lease, and goes when settle ends or buries that.
-- INCLUDE: lib_limits
-- INCLUDE: lib_dead
-- INCLUDE: lib_line
local T, READY, SCHED, LEASE, M, F = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local H, DEAD, DONE, U, C, SEQ = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local L, LINE = KEYS[15], KEYS[16]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local stamp = struct.pack('>d', now)

local function bury(id, place)
  local meta, head, tail = redis.call('HGET', M, id), nil, ''
  local entry = redis.call('HGET', L, id)
  if entry then
    redis.call('ZREM', LINE, entry .. id)
    place = place_of(entry)
  end
  if meta and #meta >= 24 then
    head, tail = string.sub(meta, 9, 24), string.sub(meta, 25)
  else
    head = struct.pack('>dII', tonumber(place), 0, 0)
  end
  redis.call('ZREM', READY, id)
  redis.call('ZREM', SCHED, id)
  redis.call('HDEL', M, id)
  redis.call('HSET', F, id, cancelled_fields(stamp, head, tail))
  redis.call('ZADD', DEAD, redis.call('INCR', SEQ), id)
  if tail ~= '' then
    free_key(U, string.match(tail, '^[^%z]*'), id, now)
    forget_waiting(KEYS[14], {id, meta})
  end
end

local function cancel(id)
  if redis.call('HEXISTS', T, id) == 0 then return '' end
  if redis.call('ZSCORE', LEASE, id) then
    redis.call('HSET', C, id, stamp)
    return 'asked'
  end
  local place = redis.call('ZSCORE', READY, id) or redis.call('ZSCORE', SCHED, id)
  if place then
    bury(id, place)
    return 'cancelled'
  end
  if redis.call('ZSCORE', DEAD, id) then return 'finished' end
  local expiry = redis.call('ZSCORE', DONE, id)
  return expiry and tonumber(expiry) > now and 'finished' or ''
end

local answers, some = {}, false
for i = 2, #ARGV do
  answers[i - 1] = cancel(ARGV[i])
  some = some or answers[i - 1] == 'cancelled'
end
return {answers, some and evict(DEAD, T, F, H, KEYS[13], L, tonumber(ARGV[1])) or 0}
