-- Of what a claim has popped, that which may start; the rest is held, with what is like it.
-- q: as for gates_of; ids, taken: id, score of each; metas: theirs
-- Returns the same of what is left, and whether anything was held

-- Out of ready or sched; a date does not count, so that the best of all get the next ones.
-- gone, held: their members in the index, before and after
local function hold(q, ids, gone, held)
  if #ids == 0 then return end
  local members, sched = {}, {}
  for i, id in ipairs(ids) do
    members[2 * i - 1], members[2 * i] = 0, held[i]
    sched[2 * i - 1], sched[2 * i] = HELD, id
  end
  redis.call('ZREM', q.limits, unpack(gone))
  redis.call('ZADD', q.limits, unpack(members))
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
  local stem, start, all = stem_of('h', limit.key), #limit.key + 19, {}
  for i, member in ipairs(found) do all[i] = string.sub(member, start) end
  local metas = redis.call('HMGET', q.m, unpack(all))
  local ids, gone, held, alike = {}, {}, {}, {}
  for i, id in ipairs(all) do
    local meta = metas[i]
    local tail = meta and string.sub(meta, 25) or ''
    if alike[tail] == nil then
      local its = limit_of(meta)
      alike[tail] = its and same(its, limit) or false
    end
    if alike[tail] then
      local n = #ids + 1
      -- The two members differ in the date.
      ids[n], gone[n], held[n] = id, found[i], stem .. string.sub(found[i], start - 8)
    end
  end
  hold(q, ids, gone, held)
end

local function sift(q, ids, taken, metas)
  local gates, keys, passed, denied = gates_of(q), {}, {}, {}
  local left, left_taken, left_metas, gone, running = {}, {}, {}, {}, {}
  local others, before, after = {}, {}, {} -- of those that are held

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

  for i, id in ipairs(ids) do
    local meta, n = metas[i], #left + 1
    local limit = limit_of(meta)
    if may_start(id, limit, meta) then
      left[n], left_metas[n] = id, meta
      left_taken[2 * n - 1], left_taken[2 * n] = id, taken[2 * i]
    else
      local known = false
      for _, other in ipairs(denied) do known = known or same(other, limit) end
      if not known then denied[#denied + 1] = limit end
      n = #others + 1
      others[n] = id
      before[n], after[n] = member_of('w', limit, meta, id), member_of('h', limit, meta, id)
    end
  end
  if #gone > 0 then
    redis.call('ZREM', q.limits, unpack(gone))
    redis.call('ZADD', q.limits, unpack(running))
  end
  hold(q, others, before, after)
  for key, gate in pairs(passed) do
    if gate.moved then redis.call('ZADD', q.pace, gate.tat, key) end
  end
  for _, limit in ipairs(denied) do
    put_aside(q, limit, gates.coming(limit.key, gates.due(passed[limit.key], limit)))
  end
  let_go(q, keys)
  return left, left_taken, left_metas, #others > 0
end
