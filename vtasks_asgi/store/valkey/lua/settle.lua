#!lua flags=allow-oom
-- Writes outcomes back, each fenced by its token. Works when the server is out of memory.
-- KEYS: own lease t m h ready sched f done dead u seq idle n c limits pace l line
-- ARGV: cap of dead letters; how many follow of each kind, and how many notes; then the arguments:
--   done (nothing is kept): id, token          kept: id, token, seconds to keep, fields, history
--   retry: id, token, delay, fields, history   release: id, token, delay, fields
--   dead: id, token, fields, history           unique key, id of each that ends
--   a NUL and the limit, id of each that has one
--   and at last: id, note of each claim that has a note
-- Returns: the positions (from 1) of those that were lost; how many dead letters were evicted; the
--   positions of those that were cancelled: dead letters in place of a retry or a release
-- Invariant: what is settled leaves own and lease, and ends in exactly one other place, or nowhere.
-- INCLUDE: lib_place
-- INCLUDE: lib_dead
-- INCLUDE: lib_line
local OWN, LEASE, T, M, H = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local READY, SCHED, F, DONE, DEAD = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local U, SEQ, IDLE, N, C = KEYS[11], KEYS[12], KEYS[13], KEYS[14], KEYS[15]
local L, LINE = KEYS[18], KEYS[19]
local CAP = tonumber(ARGV[1])
local COUNTS = {tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]),
  tonumber(ARGV[6])}
local WIDTHS = {2, 5, 5, 4, 4}

local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local stamp = struct.pack('>d', now)

-- Every id, where its arguments begin, and what is known of its claim.
local ids, places, at, total = {}, {}, 8, 0
for kind, count in ipairs(COUNTS) do
  for _ = 1, count do
    total = total + 1
    ids[total], places[total] = ARGV[at], at
    at = at + WIDTHS[kind]
  end
end
local uniques, notes = at, #ARGV + 1 - 2 * ARGV[7]
local owns = redis.call('HMGET', OWN, unpack(ids))

local lost, settled, gone, histories, fields, metas = {}, {}, {}, {}, {}, {}
local ready, sched, expiries, buried, ended, wake = {}, {}, {}, {}, {}, false
local cancelled, marks = {}, redis.call('EXISTS', C) == 1
local limited = {} -- id, meta of each that will wait and has a limit
local kept, standing, lined = {}, {}, redis.call('EXISTS', L) == 1

local function put(list, first, second)
  list[#list + 1] = first
  list[#list + 1] = second
end

-- rest: the fields of a retry or release, which is all but run_at of its meta; whether it was
-- cancelled, and so ends
local function again(id, delay, rest)
  if marks and redis.call('HEXISTS', C, id) == 1 then
    local tail = string.sub(rest, 17)
    put(fields, id, cancelled_fields(stamp, string.sub(rest, 1, 16), tail))
    put(buried, redis.call('INCR', SEQ), id)
    if tail ~= '' then free_key(U, string.match(tail, '^[^%z]*'), id, now) end
    return true
  end
  local due = now + delay
  local meta = struct.pack('>d', due) .. rest
  put(metas, id, meta)
  if string.find(rest, '\0', 17, true) then put(limited, id, meta) end
  if tonumber(delay) > 0 then
    put(sched, due, id)
  else
    local place, entry = struct.unpack('>d', rest), lined and redis.call('HGET', L, id)
    if entry then
      put(ready, LINED + number_of(entry), id)
      put(standing, 0, entry .. id)
    else
      put(ready, sound_place(place, SEQ), id)
    end
  end
  wake = true
end

local WRITE = {
  function(id, p) gone[#gone + 1] = id end,
  function(id, p)
    put(fields, id, stamp .. ARGV[p + 3])
    put(histories, id, ARGV[p + 4])
    put(expiries, now + ARGV[p + 2], id)
    kept[#kept + 1] = id
  end,
  function(id, p)
    put(histories, id, ARGV[p + 4])
    return again(id, ARGV[p + 2], ARGV[p + 3])
  end,
  function(id, p) return again(id, ARGV[p + 2], ARGV[p + 3]) end,
  function(id, p)
    put(fields, id, stamp .. ARGV[p + 2])
    put(histories, id, ARGV[p + 3])
    put(buried, redis.call('INCR', SEQ), id)
  end,
}

local position, held, ends = 0, 0, 0
for kind, count in ipairs(COUNTS) do
  local write, over = WRITE[kind], kind == 1 or kind == 2 or kind == 5
  for _ = 1, count do
    position = position + 1
    local id, p = ids[position], places[position]
    local own = owns[position]
    if own and string.sub(own, 1, 16) == ARGV[p + 1] then
      held = held + 1
      settled[held] = id
      local cut = write(id, p)
      if cut then cancelled[#cancelled + 1] = position end
      if over or cut then
        ends = ends + 1
        ended[ends] = id
      end
    else
      lost[#lost + 1] = position
    end
  end
end

-- What runs no longer makes room for what is held.
local function make_room()
-- INCLUDE: lib_limits
-- INCLUDE: lib_gates
  local keys, known, gone = {}, {}, {}
  for i = uniques, notes - 1, 2 do
    local limit = string.byte(ARGV[i]) == 0 and read_limit(string.sub(ARGV[i], 2))
    if limit then
      if redis.call('HEXISTS', OWN, ARGV[i + 1]) == 0 then
        gone[#gone + 1] = member_of('r', limit, nil, ARGV[i + 1])
      end
      if not known[limit.key] then keys[#keys + 1] = limit.key end
      known[limit.key] = true
    end
  end
  if #gone > 0 then redis.call('ZREM', KEYS[16], unpack(gone)) end
  note_waiting(KEYS[16], limited)
  if #keys == 0 then return end
  let_go({now = now, ready = READY, sched = SCHED, m = M, limits = KEYS[16], pace = KEYS[17],
    idle = IDLE, l = L, line = LINE}, keys)
end

local bounded = #limited > 0
for i = uniques, notes - 1, 2 do bounded = bounded or string.byte(ARGV[i]) == 0 end
if held == 0 then
  if bounded then make_room() end
  return {lost, 0, cancelled}
end

redis.call('HDEL', OWN, unpack(settled))
redis.call('ZREM', LEASE, unpack(settled))
if #gone > 0 then
  redis.call('HDEL', T, unpack(gone))
  if redis.call('EXISTS', H) == 1 then redis.call('HDEL', H, unpack(gone)) end
end
if ends > 0 and redis.call('EXISTS', M) == 1 then redis.call('HDEL', M, unpack(ended)) end
if ends > 0 and marks then redis.call('HDEL', C, unpack(ended)) end
if lined then
  if #gone > 0 then redis.call('HDEL', L, unpack(gone)) end
  if #kept > 0 then redis.call('HDEL', L, unpack(kept)) end
  if #standing > 0 then redis.call('ZADD', LINE, unpack(standing)) end
end
if #fields > 0 then redis.call('HSET', F, unpack(fields)) end
if #histories > 0 then redis.call('HSET', H, unpack(histories)) end
if #expiries > 0 then redis.call('ZADD', DONE, unpack(expiries)) end
if #metas > 0 then redis.call('HSET', M, unpack(metas)) end
if #ready > 0 then redis.call('ZADD', READY, unpack(ready)) end
if #sched > 0 then redis.call('ZADD', SCHED, unpack(sched)) end

if uniques < notes then
  local done = {}
  for _, id in ipairs(ended) do done[id] = true end
  for i = uniques, notes - 1, 2 do
    local key, id = ARGV[i], ARGV[i + 1]
    if done[id] and string.byte(key) ~= 0 then free_key(U, key, id, now) end
  end
end
if bounded then make_room() end

if notes <= #ARGV or redis.call('EXISTS', N) == 1 then
  redis.call('HDEL', N, unpack(settled))
  local stays, written = {}, {}
  for _, id in ipairs(settled) do stays[id] = true end
  for _, id in ipairs(gone) do stays[id] = nil end
  for i = notes, #ARGV, 2 do
    if stays[ARGV[i]] then put(written, ARGV[i], ARGV[i + 1]) end
  end
  if #written > 0 then redis.call('HSET', N, unpack(written)) end
end

local evicted = 0
if #buried > 0 then
  redis.call('ZADD', DEAD, unpack(buried))
  evicted = evict(DEAD, T, F, H, N, L, CAP)
end
if wake and redis.call('DEL', IDLE) == 1 then redis.call('PUBLISH', IDLE, '') end
return {lost, evicted, cancelled}
