-- A unique key in u is 8 bytes, held until (big-endian double), then the id of who took it last.
-- Whether that one still holds it is looked up, so a lock ends with its message and cannot leak.
local function key_holder(u, t, m, dead, done, key, now)
  local value = redis.call('HGET', u, key)
  if not value or #value < 9 then return nil end
  local id = string.sub(value, 9)
  if struct.unpack('>d', value) > now then return id end
  if redis.call('HEXISTS', t, id) == 0 then return nil end
  if redis.call('ZSCORE', dead, id) or redis.call('ZSCORE', done, id) then return nil end
  -- Purged, and its id pushed anew without the key?
  local meta = redis.call('HGET', m, id)
  if not meta or string.match(meta, '^[^%z]*', 25) ~= key then return nil end
  return id
end

-- Take a key for a message; the other message that holds it, if any.
local function take_key(u, t, m, dead, done, key, id, now, keep)
  local holder = key_holder(u, t, m, dead, done, key, now)
  if holder and holder ~= id then return holder end
  redis.call('HSET', u, key, struct.pack('>d', now + keep) .. id)
  return nil
end
