#!lua
-- Makes dead letters ready again, as if just pushed.
-- KEYS: dead t f h m ready seq u done idle limits l line
-- ARGV: ids
-- Returns: how many were dead letters, and not kept dead because another message has their key
-- Invariant: attempts, crashes and history start anew; a note stays.
-- INCLUDE: lib_limits
-- INCLUDE: lib_unique
-- INCLUDE: lib_place
-- INCLUDE: lib_line
local DEAD, T, F, H, M, READY = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local SEQ, U, DONE, IDLE, L, LINE = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[12], KEYS[13]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local stamp = struct.pack('>d', now)
local count = 0

for _, id in ipairs(ARGV) do
  if redis.call('ZSCORE', DEAD, id) then
    local fields, score, tail = redis.call('HGET', F, id), 0, ''
    if fields and #fields >= 27 then
      score = struct.unpack('>d', fields, 9)
      tail = string.sub(fields, 28 + struct.unpack('>H', fields, 26))
    end
    local unique = string.match(tail, '^[^%z]*')
    local holder = unique ~= '' and take_key(U, T, M, DEAD, DONE, unique, id, now, 0)
    if not holder then
      local body = redis.call('HGET', T, id) or ''
      local band = math.floor(sound_place(score, SEQ) / BAND) * BAND
      local seq, entry = redis.call('INCR', SEQ), redis.call('HGET', L, id)
      local place = band + seq
      redis.call('ZREM', DEAD, id)
      redis.call('HDEL', F, id)
      redis.call('HDEL', H, id)
      redis.call('HDEL', M, id)
      if tail ~= '' or entry then
        local meta = struct.pack('>ddII', -math.huge, place, 0, 0) .. tail
        redis.call('HSET', M, id, meta)
        note_waiting(KEYS[11], {id, meta})
      end
      redis.call('HSET', T, id, stamp .. string.sub(body, 9))
      if entry then
        entry = entry_of(place, tonumber(string.sub(entry, 4, 17)))
        redis.call('HSET', L, id, entry)
        redis.call('ZADD', LINE, 0, entry .. id)
      end
      redis.call('ZADD', READY, entry and LINED + seq or place, id)
      count = count + 1
    end
  end
end
if count > 0 and redis.call('DEL', IDLE) == 1 then redis.call('PUBLISH', IDLE, '') end
return count
