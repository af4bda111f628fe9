-- Who of a limit's key may start, and who of those that are held is let go. The arithmetic is that
-- of core/limits.py.
-- q: now, and names of the keys ready, sched, m, limits, pace, idle, l and line
local HELD, TOLERANCE, PORTION, HOLD_LIMIT = 1e12, 0.05, 0.025, 1000

local function gates_of(q)
  local gates = {}

  -- A key as it is now.
  function gates.find(key)
    local stem = stem_of('r', key)
    local running = redis.call('ZLEXCOUNT', q.limits, '[' .. stem, '(' .. stem .. '\255')
    return {running = running, tat = tonumber(redis.call('ZSCORE', q.pace, key) or 0)}
  end

  -- May one with this limit start? If so, it has.
  function gates.admit(gate, limit)
    if limit.most and gate.running >= limit.most then return false end
    if limit.pace then
      if q.now < gate.tat - TOLERANCE then return false end
      gate.tat, gate.moved = math.max(q.now, gate.tat) + limit.pace, true
    end
    gate.running = gate.running + 1
    return true
  end

  local function portion(pace) return math.max(1, math.floor(PORTION / pace)) end

  -- When the next ones may start, and how many should be ready, or due by then.
  function gates.due(gate, limit)
    if not limit.pace then return q.now end
    return math.max(q.now, gate.tat - TOLERANCE + (portion(limit.pace) - 1) * limit.pace)
  end

  local function wanted(gate, limit)
    local room = limit.most and limit.most - gate.running or math.huge
    return math.min(room, limit.pace and portion(limit.pace) or math.huge)
  end

  -- The range of those that wait, and come up by then.
  function gates.coming(key, due)
    local stem = stem_of('w', key)
    return '[' .. stem, '(' .. stem .. struct.pack('>d', due) .. '\128'
  end

  local function held(key, count)
    local stem = stem_of('h', key)
    local last = '(' .. stem .. '\255'
    return redis.call('ZRANGE', q.limits, '[' .. stem, last, 'BYLEX', 'LIMIT', 0, count), #stem + 9
  end

  -- The best that is held, by what is stored of it; what the index has in excess goes.
  local function first(key)
    while true do
      local members, start = held(key, 1)
      if #members == 0 then return nil end
      local id = string.sub(members[1], start)
      local limit = limit_of(redis.call('HGET', q.m, id))
      local score = redis.call('ZSCORE', q.sched, id)
      if limit and limit.key == key and score and tonumber(score) >= HELD then return limit end
      redis.call('ZREM', q.limits, members[1])
    end
  end

  local function release(key, due, count)
    local members, start = held(key, math.min(count, HOLD_LIMIT))
    local ids, waits, metas, dates, ready, now_ready = {}, {}, {}, {}, {}, {}
    local lined = {}
    for i, member in ipairs(members) do ids[i] = string.sub(member, start) end
    local stored = redis.call('HMGET', q.m, unpack(ids))
    local scores = redis.call('ZMSCORE', q.sched, unpack(ids))
    local entries = entries_of(q.l, ids)
    for i, id in ipairs(ids) do
      local limit, entry = limit_of(stored[i]), entries[i]
      if limit and limit.key == key and scores[i] and tonumber(scores[i]) >= HELD then
        local meta = struct.pack('>d', due) .. string.sub(stored[i], 9)
        local n = #metas
        metas[n + 1], metas[n + 2] = id, meta
        waits[n + 1], waits[n + 2] = 0, member_of('w', limit, meta, id)
        local place = struct.unpack('>d', stored[i], 9)
        if due <= q.now and math.abs(place) < 2 ^ 53 then
          if entry then
            place = LINED + number_of(entry)
            lined[#lined + 1], lined[#lined + 2] = 0, entry .. id
          end
          ready[#ready + 1], ready[#ready + 2] = place, id
          now_ready[#now_ready + 1] = id
        else
          dates[#dates + 1], dates[#dates + 2] = due, id
        end
      end
    end
    redis.call('ZREM', q.limits, unpack(members))
    if #metas == 0 then return end
    redis.call('ZADD', q.limits, unpack(waits))
    redis.call('HSET', q.m, unpack(metas))
    if #dates > 0 then redis.call('ZADD', q.sched, unpack(dates)) end
    if #ready > 0 then
      redis.call('ZREM', q.sched, unpack(now_ready))
      redis.call('ZADD', q.ready, unpack(ready))
      if #lined > 0 then redis.call('ZADD', q.line, unpack(lined)) end
    end
    gates.woken = true
  end

  -- Give those that are held for a key dates, as many as there should be.
  function gates.let_go(key)
    local limit = first(key)
    if not limit then return end
    local gate = gates.find(key)
    local due, count = gates.due(gate, limit), wanted(gate, limit)
    if count > 0 then count = count - redis.call('ZLEXCOUNT', q.limits, gates.coming(key, due)) end
    if count > 0 then release(key, due, count) end
  end

  return gates
end

-- Let go what is held for these keys, and tell whoever waits.
local function let_go(q, keys)
  local gates = gates_of(q)
  for _, key in ipairs(keys) do gates.let_go(key) end
  if gates.woken and redis.call('DEL', q.idle) == 1 then redis.call('PUBLISH', q.idle, '') end
end
