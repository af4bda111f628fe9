#!lua
-- Stores messages, each with a different id. Refused when the server is out of memory.
-- KEYS: t ready seq sched m u dead done cron idle own limits l line
-- ARGV: tick: '' or '<at> <schedule>'; n; n times id, body; and for each message that is not plain:
--   its index (from 1, ascending), priority, and each of these or '': run_at, unique key, seconds to
--   keep it, seconds to debounce, seconds to do so at the longest, limit: how many may run, seconds
--   between two starts ('-' for none), and its key; its line
-- Returns: for each message that was not stored its index, the holder of its key ('' when the id is
--   known), and 1 when the holder took its body, else 0; or 'late' when the tick, or a later one,
--   was recorded before: then nothing is stored
-- Invariant: an id in t is in exactly one of ready, sched, lease, dead and done.
-- INCLUDE: lib_unique
-- INCLUDE: lib_line
local T, READY, SEQ, SCHED, M, U = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local DEAD, DONE, CRON, IDLE, OWN = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local LIMITS, L, LINE = KEYS[12], KEYS[13], KEYS[14]

local schedule, at
if ARGV[1] ~= '' then
  local space = string.find(ARGV[1], ' ', 1, true)
  at, schedule = string.sub(ARGV[1], 1, space - 1), string.sub(ARGV[1], space + 1)
  local last = tonumber(redis.call('HGET', CRON, schedule) or '')
  if last and tonumber(at) <= last then return 'late' end
end

local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local stamp = struct.pack('>d', now)
local n = tonumber(ARGV[2])
local ids = {}
for i = 1, n do ids[i] = ARGV[2 * i + 1] end
local known = redis.call('HMGET', T, unpack(ids))
local seq = redis.call('INCRBY', SEQ, n) - n

local bodies, ready, sched, metas, refused, taken, wake = {}, {}, {}, {}, {}, {}, false
local limits = false -- has anything in metas one?
local entries, lined = {}, {} -- of l, and of line
local count, plain = 0, 0 -- of what is in bodies and in ready: to count a table takes time

local function put(list, first, second)
  list[#list + 1] = first
  list[#list + 1] = second
end

local function note(waiting, before)
-- INCLUDE: lib_limits
  if before then forget_waiting(LIMITS, before) end
  note_waiting(LIMITS, waiting)
end

-- Write what was gathered. Should a key be of another type, which only strangers can do, then little
-- is written before that is found out.
local function flush()
  if count == 0 then return end
  if #metas > 0 then redis.call('HSET', M, unpack(metas)) end
  if limits then note(metas) end
  if #entries > 0 then redis.call('HSET', L, unpack(entries)) end
  if #lined > 0 then redis.call('ZADD', LINE, unpack(lined)) end
  if #sched > 0 then redis.call('ZADD', SCHED, unpack(sched)) end
  if plain > 0 then redis.call('ZADD', READY, unpack(ready)) end
  redis.call('HSET', T, unpack(bodies))
  bodies, ready, sched, metas, wake = {}, {}, {}, {}, true
  limits, entries, lined = false, {}, {}
  count, plain = 0, 0
end

-- Let the holder of a key take a body and wait anew, if no claim of it counts.
local function merge(holder, body, wait, longest, leads)
  local old, meta = redis.call('HGET', T, holder), redis.call('HGET', M, holder)
  if not old or not meta or #meta < 24 or redis.call('HEXISTS', OWN, holder) == 1 then return end
  if redis.call('ZSCORE', DEAD, holder) or redis.call('ZSCORE', DONE, holder) then return end
  if struct.unpack('>I', meta, 17) > 0 then return end -- attempts
  local due, pushed = now + wait, string.sub(old .. stamp, 1, 8)
  wake = true
  if leads and struct.unpack('>d', meta) == -math.huge then -- it is due, and stays so
    redis.call('HSET', T, holder, pushed .. body)
    return true
  end
  if longest then due = math.min(due, struct.unpack('>d', pushed) + longest) end
  redis.call('ZADD', SCHED, due, holder)
  redis.call('ZREM', READY, holder)
  local entry = redis.call('HGET', L, holder)
  if entry then redis.call('ZREM', LINE, entry .. holder) end
  local new = struct.pack('>d', due) .. string.sub(meta, 9)
  if string.find(meta, '\0', 25, true) then note({holder, new}, {holder, meta}) end
  redis.call('HSET', M, holder, new)
  redis.call('HSET', T, holder, pushed .. body)
  return true
end

local special = 2 * n + 3
local index = tonumber(ARGV[special])
for i = 1, n do
  local id, body = ids[i], ARGV[2 * i + 2]
  local place, run_at, holder, merged, meta = seq + i, nil, nil, nil, nil
  local entry
  if i == index then
    place = place - ARGV[special + 1] * 2 ^ 45
    local key, keep = ARGV[special + 3], tonumber(ARGV[special + 4])
    local wait, longest = tonumber(ARGV[special + 5]), tonumber(ARGV[special + 6])
    local leads, held = wait and keep, nil
    keep = keep or 0
    if key ~= '' and not known[i] then
      if taken[key] then flush() end -- the holder is of this call
      taken[key] = true
      holder = take_key(U, T, M, DEAD, DONE, key, id, now, keep)
      held = holder
      if holder and wait then
        merged = merge(holder, body, wait, longest, leads)
        if not merged then
          holder = nil
          redis.call('HSET', U, key, struct.pack('>d', now + keep) .. id)
        end
      end
    end
    if wait and (held or not leads) then run_at = now + wait
    else run_at = tonumber(ARGV[special + 2]) end
    local limit, line = ARGV[special + 7], tonumber(ARGV[special + 8])
    entry = line and entry_of(place, line)
    if run_at or key ~= '' or limit ~= '' or entry then
      meta = struct.pack('>ddII', run_at or -math.huge, place, 0, 0) .. key
      if limit ~= '' then meta, limits = meta .. '\0' .. limit, true end
    end
    special = special + 9
    index = tonumber(ARGV[special])
  end
  if known[i] or holder then
    put(refused, i, holder or '')
    refused[#refused + 1] = merged and 1 or 0
  else
    bodies[count + 1], bodies[count + 2] = id, stamp .. body
    count = count + 2
    if run_at and run_at > now then
      put(sched, run_at, id)
    else
      ready[plain + 1], ready[plain + 2] = entry and LINED + seq + i or place, id
      plain = plain + 2
      if entry then put(lined, 0, entry .. id) end
    end
    if entry then put(entries, id, entry) end
    if meta then put(metas, id, meta) end
  end
end
flush()
if schedule then redis.call('HSET', CRON, schedule, at) end
if wake and redis.call('DEL', IDLE) == 1 then redis.call('PUBLISH', IDLE, '') end
return refused
