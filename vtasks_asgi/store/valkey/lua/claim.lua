#!lua flags=allow-oom
-- Promotes what is due, then takes the best messages. Works when the server is out of memory.
-- KEYS: ready sched t m h own lease seq idle n pause limits pace l line turn
-- ARGV: limit, lease in seconds, token (16 characters), worker
-- Returns: id, score of each; their bodies; metas (empty when no message has one); histories and
--   notes (the same); the next due time, or the end of a pause, in seconds from now or ''
-- Invariant: what is taken has an entry in own and in lease, and is in no other set but limits.
-- INCLUDE: lib_place
-- INCLUDE: lib_pause
-- INCLUDE: lib_line
-- INCLUDE: lib_turns
local READY, SCHED, T, M, H = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local OWN, LEASE, SEQ, IDLE, N = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local PAUSE, L, LINE, TURN = KEYS[11], KEYS[14], KEYS[15], KEYS[16]
local CHUNK, CHUNKS = 1000, 4

local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local stamp = struct.pack('>d', now)

local function promote()
  local due = redis.call('ZRANGEBYSCORE', SCHED, '-inf', now, 'LIMIT', 0, CHUNK)
  if #due == 0 then return 0 end
  local metas, ready = redis.call('HMGET', M, unpack(due)), {}
  local entries, members = entries_of(L, due), {}
  for i, id in ipairs(due) do
    local meta, entry = metas[i], entries[i]
    if entry then
      ready[2 * i - 1] = LINED + number_of(entry)
      members[#members + 1] = 0
      members[#members + 1] = entry .. id
    else
      ready[2 * i - 1] = sound_place(meta and #meta >= 24 and struct.unpack('>d', meta, 9), SEQ)
    end
    ready[2 * i] = id
  end
  if #members > 0 then redis.call('ZADD', LINE, unpack(members)) end
  redis.call('ZADD', READY, unpack(ready))
  redis.call('ZREM', SCHED, unpack(due))
  return #due
end

for chunk = 1, CHUNKS do
  if promote() < CHUNK then break end
end
local pause = pause_end(redis.call('HGET', PAUSE, 'until'), now)

local function due_next()
  local first = redis.call('ZRANGE', SCHED, 0, 0, 'WITHSCORES')
  local due = math.min(tonumber(first[2]) or math.huge, pause or math.huge)
  return due < 1e12 and string.format('%.6f', math.max(0, due - now)) or ''
end

local next_due = due_next()
if pause then return {{}, {}, {}, {}, {}, next_due} end

local limit = math.min(tonumber(ARGV[1]), CHUNK)
local taken = {}
if redis.call('EXISTS', LINE) == 1 then
  taken = take_turns(READY, LINE, TURN, limit)
elseif limit > 0 then
  taken = redis.call('ZPOPMIN', READY, limit)
end
if #taken == 0 then
  redis.call('SET', IDLE, '')
  return {taken, {}, {}, {}, {}, next_due}
end

local ids = {}
for i = 1, #taken / 2 do ids[i] = taken[2 * i - 1] end
local metas = redis.call('EXISTS', M) == 1 and redis.call('HMGET', M, unpack(ids)) or {}

local function admit()
-- INCLUDE: lib_limits
-- INCLUDE: lib_gates
-- INCLUDE: lib_sift
  local q = {now = now, ready = READY, sched = SCHED, m = M, limits = KEYS[12], pace = KEYS[13]}
  q.idle, q.l, q.line = IDLE, L, LINE
  return sift(q, ids, taken, metas)
end

for i = 1, #metas do
  if metas[i] and string.find(metas[i], '\0', 25, true) then
    local held
    ids, taken, metas, held = admit()
    next_due = held and '0' or due_next()
    break
  end
end
if #ids == 0 then return {taken, {}, {}, {}, {}, next_due} end

local head = ARGV[3] .. stamp .. struct.pack('>H', #ARGV[4]) .. ARGV[4]
local expiry = string.format('%.17g', now + ARGV[2]) -- once, and not for each message
local own, lease = {}, {}
for i, id in ipairs(ids) do
  own[2 * i - 1] = id
  own[2 * i] = head .. taken[2 * i]
  lease[2 * i - 1] = expiry
  lease[2 * i] = id
end
redis.call('HSET', OWN, unpack(own))
redis.call('ZADD', LEASE, unpack(lease))
local bodies = redis.call('HMGET', T, unpack(ids))
for i, id in ipairs(ids) do
  local body = bodies[i]
  if not body then
    -- Somebody deleted it. Without a body it becomes a dead letter like any other unreadable one.
    redis.call('HSET', T, id, stamp)
    bodies[i] = stamp
  end
end
local histories = redis.call('EXISTS', H) == 1 and redis.call('HMGET', H, unpack(ids)) or {}
local notes = redis.call('EXISTS', N) == 1 and redis.call('HMGET', N, unpack(ids)) or {}
return {taken, bodies, metas, histories, notes, next_due}
