#!lua
-- Stores messages, each with a different id. Refused when the server is out of memory.
-- KEYS: t ready seq sched m u dead done cron idle
-- ARGV: tick: '' or '<at> <schedule>'; n; n times id, body; and for each message that is not plain:
--   its index (from 1, ascending), priority, run_at or '', unique key or '', seconds to keep it or ''
-- Returns: index, holder ('' when the id is known) of each message that was not stored; 'late' when
--   the tick, or a later one, was recorded before, and then nothing is stored
-- Invariant: an id in t is in exactly one of ready, sched, lease, dead and done.
-- INCLUDE: lib_unique
local T, READY, SEQ, SCHED, M, U = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local DEAD, DONE, CRON, IDLE = KEYS[7], KEYS[8], KEYS[9], KEYS[10]

if ARGV[1] ~= '' then
  local space = string.find(ARGV[1], ' ', 1, true)
  local at, schedule = string.sub(ARGV[1], 1, space - 1), string.sub(ARGV[1], space + 1)
  local last = tonumber(redis.call('HGET', CRON, schedule) or '')
  if last and tonumber(at) <= last then return 'late' end
  redis.call('HSET', CRON, schedule, at)
end

local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local stamp = struct.pack('>d', now)
local n = tonumber(ARGV[2])
local ids = {}
for i = 1, n do ids[i] = ARGV[2 * i + 1] end
local known = redis.call('HMGET', T, unpack(ids))
local seq = redis.call('INCRBY', SEQ, n) - n

local bodies, ready, sched, metas, refused, taken = {}, {}, {}, {}, {}, {}
local special = 2 * n + 3
local index = tonumber(ARGV[special])
for i = 1, n do
  local id = ids[i]
  local score, run_at, holder, meta = seq + i, nil, nil, nil
  if i == index then
    score = score - ARGV[special + 1] * 2 ^ 45
    local given, unique, keep = ARGV[special + 2], ARGV[special + 3], ARGV[special + 4]
    run_at = tonumber(given)
    if unique ~= '' and not known[i] then
      -- Those of this call are not in t yet.
      holder = taken[unique] or take_key(U, T, DEAD, DONE, unique, id, now, tonumber(keep) or 0)
      taken[unique] = holder or id
    end
    if run_at or unique ~= '' then
      meta = struct.pack('>ddII', run_at or -math.huge, score, 0, 0) .. unique
    end
    special = special + 5
    index = tonumber(ARGV[special])
  end
  if known[i] or holder then
    refused[#refused + 1] = i
    refused[#refused + 1] = holder or ''
  else
    bodies[#bodies + 1] = id
    bodies[#bodies + 1] = stamp .. ARGV[2 * i + 2]
    if run_at and run_at > now then
      sched[#sched + 1] = run_at
      sched[#sched + 1] = id
    else
      ready[#ready + 1] = score
      ready[#ready + 1] = id
    end
    if meta then
      metas[#metas + 1] = id
      metas[#metas + 1] = meta
    end
  end
end

if #bodies > 0 then
  redis.call('HSET', T, unpack(bodies))
  if #ready > 0 then redis.call('ZADD', READY, unpack(ready)) end
  if #sched > 0 then redis.call('ZADD', SCHED, unpack(sched)) end
  if #metas > 0 then redis.call('HSET', M, unpack(metas)) end
  if redis.call('DEL', IDLE) == 1 then redis.call('PUBLISH', IDLE, '') end
end
return refused
