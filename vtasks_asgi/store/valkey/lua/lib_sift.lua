-- Of what a claim has popped, that which may start; the rest is held, with what is like it.
-- q: as for gates_of; taken: id, score of each; metas: theirs
-- Returns the same of what is left, and whether anything was held

-- Out of ready or sched; a date does not count, so that the best of all get the next ones.
local function hold(q, ids, limits, metas)
  if #ids == 0 then return end
  local gone, held, sched = {}, {}, {}
  for i, id in ipairs(ids) do
    gone[i] = member_of('w', limits[i], metas[i], id)
    held[2 * i - 1], held[2 * i] = 0, member_of('h', limits[i], metas[i], id)
    sched[2 * i - 1], sched[2 * i] = HELD, id
  end
  redis.call('ZREM', q.limits, unpack(gone))
  redis.call('ZADD', q.limits, unpack(held))
  redis.call('ZREM', q.ready, unpack(ids))
  leave_lines(q.l, q.line, ids)
  redis.call('ZADD', q.sched, unpack(sched))
end

local function same(one, other)
  return one.key == other.key and one.most == other.most and one.pace == other.pace
end

-- The last first, so that those that stay ready in a flood are those that should be.
local function put_aside(q, limit, first, last)
  local found = redis.call('ZRANGE', q.limits, last, first, 'BYLEX', 'REV', 'LIMIT', 0, HOLD_LIMIT)
  if #found == 0 then return end
  for i, member in ipairs(found) do found[i] = string.sub(member, #limit.key + 19) end
  local stored = redis.call('HMGET', q.m, unpack(found))
  local ids, limits, metas = {}, {}, {}
  for i, id in ipairs(found) do
    local its = limit_of(stored[i])
    if its and same(its, limit) then
      ids[#ids + 1], limits[#limits + 1], metas[#metas + 1] = id, its, stored[i]
    end
  end
  hold(q, ids, limits, metas)
end

local function sift(q, taken, metas)
  local gates, keys, passed, denied = gates_of(q), {}, {}, {}
  local left, left_metas, gone, running = {}, {}, {}, {}
  local ids, limits, others = {}, {}, {} -- of those that are held

  local function may_start(id, limit, meta)
    if not limit then return true end
    local key = limit.key
    if not passed[key] then
      keys[#keys + 1] = key
      passed[key] = gates.find(key)
    end
    if not gates.admit(passed[key], limit) then return false end
    gone[#gone + 1] = member_of('w', limit, meta, id)
    running[#running + 1] = 0
    running[#running + 1] = member_of('r', limit, meta, id)
    return true
  end

  for i = 1, #taken / 2 do
    local id, meta = taken[2 * i - 1], metas[i]
    local limit = limit_of(meta)
    if may_start(id, limit, meta) then
      left[#left + 1] = id
      left[#left + 1] = taken[2 * i]
      left_metas[#left / 2] = meta
    else
      local known = false
      for _, other in ipairs(denied) do known = known or same(other, limit) end
      if not known then denied[#denied + 1] = limit end
      ids[#ids + 1], limits[#limits + 1], others[#others + 1] = id, limit, meta
    end
  end
  if #gone > 0 then
    redis.call('ZREM', q.limits, unpack(gone))
    redis.call('ZADD', q.limits, unpack(running))
  end
  hold(q, ids, limits, others)
  for key, gate in pairs(passed) do
    if gate.moved then redis.call('ZADD', q.pace, gate.tat, key) end
  end
  for _, limit in ipairs(denied) do
    put_aside(q, limit, gates.coming(limit.key, gates.due(passed[limit.key], limit)))
  end
  let_go(q, keys)
  return left, left_metas, #ids > 0
end
