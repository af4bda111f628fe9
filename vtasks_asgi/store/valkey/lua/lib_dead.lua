-- What settle and cancel do about dead letters.

-- The fields of one that was cancelled; head: its place, attempts and crashes, packed as in a meta;
-- tail: what its meta ends with.
local function cancelled_fields(stamp, head, tail)
  local reason = 'cancelled'
  return stamp .. head .. string.char(2) .. struct.pack('>H', #reason) .. reason .. tail
end

-- Forget a unique key that this message has taken last, unless it is kept for longer.
local function free_key(u, key, id, now)
  local value = redis.call('HGET', u, key)
  local mine = value and (#value < 9 or string.sub(value, 9) == id)
  if mine and (#value < 9 or struct.unpack('>d', value) <= now) then redis.call('HDEL', u, key) end
end

-- Drop the dead letters over the cap, those buried first; how many there were.
local function evict(dead, t, f, h, n, l, cap)
  local evicted, excess = 0, redis.call('ZCARD', dead) - cap
  while evicted < excess do
    local popped = redis.call('ZPOPMIN', dead, math.min(excess - evicted, 1000))
    local old = {}
    for i = 1, #popped, 2 do old[#old + 1] = popped[i] end
    for _, key in ipairs({t, f, h, n, l}) do redis.call('HDEL', key, unpack(old)) end
    evicted = evicted + #old
  end
  return evicted
end
