-- What reclaim does about limits: some of the index is compared with the messages it is about, and
-- what is held is let go where whoever should have done that has gone.
-- q: as for gates_of, and names of the keys own and lease
local LOOK, KEYS_AT_ONCE = 100, 100

-- The id, key and kind of a member; nothing if no script of ours has written it.
local function read_member(member)
  local kind, length = string.match(member, '^[rwh]'), string.byte(member, 2)
  if not kind or not length then return nil end
  local start = 3 + length + ({r = 0, w = 16, h = 8})[kind]
  if #member < start then return nil end
  return string.sub(member, start), string.sub(member, 3, 2 + length), kind
end

-- Put right what the index has of these messages; members: what it has now, if anything
local function repair(q, ids, members)
  if #ids == 0 then return end
  local metas, owns = redis.call('HMGET', q.m, unpack(ids)), redis.call('HMGET', q.own, unpack(ids))
  local ready, sched = redis.call('ZMSCORE', q.ready, unpack(ids)),
    redis.call('ZMSCORE', q.sched, unpack(ids))
  for i, id in ipairs(ids) do
    local limit, held = limit_of(metas[i]), sched[i] and tonumber(sched[i]) >= HELD
    local kind = owns[i] and 'r' or held and 'h' or (ready[i] or sched[i]) and 'w'
    local right = limit and kind and member_of(kind, limit, metas[i], id)
    if members[i] and members[i] ~= right then redis.call('ZREM', q.limits, members[i]) end
    if right then redis.call('ZADD', q.limits, 0, right) end
    if held and not limit then
      redis.call('ZADD', q.sched, q.now, id) -- nobody knows what it waits for
    end
  end
end

-- Up to LOOK members of a sorted set, from a random rank on, of so many from a rank on.
local function some(q, set, from, size)
  if size == 0 then return {} end
  local rank = from + math.floor(q.now * 1000000) % math.max(1, size - LOOK + 1)
  return redis.call('ZRANGE', set, rank, rank + LOOK - 1)
end

-- Compare some of the index with the messages it is about.
local function look(q, from, size)
  local ids, members = {}, {}
  for _, member in ipairs(some(q, q.limits, from, size)) do
    local id = read_member(member)
    if id then
      ids[#ids + 1], members[#members + 1] = id, member
    else
      redis.call('ZREM', q.limits, member)
    end
  end
  repair(q, ids, members)
end

local function keys_held(q, found, from, to)
  while #found < KEYS_AT_ONCE do
    local member = redis.call('ZRANGE', q.limits, from, to, 'BYLEX', 'LIMIT', 0, 1)[1]
    if not member then break end
    local _, key = read_member(member)
    if key then
      found[#found + 1] = key
      from = '(' .. stem_of('h', key) .. '\255'
    else
      redis.call('ZREM', q.limits, member)
    end
  end
end

local function sweep(q)
  local held = redis.call('ZCOUNT', q.sched, HELD, '+inf')
  if held == 0 and redis.call('EXISTS', q.limits) == 0 then return end
  look(q, 0, redis.call('ZCARD', q.limits))
  -- What runs stands by itself: a few among very many, and others wait for it.
  look(q, redis.call('ZLEXCOUNT', q.limits, '-', '(r'), redis.call('ZLEXCOUNT', q.limits, '[r', '(s'))
  repair(q, some(q, q.sched, redis.call('ZCARD', q.sched) - held, held), {})
  repair(q, some(q, q.lease, 0, redis.call('ZCARD', q.lease)), {})
  -- All keys where there are no more, else some from a random one on: most are digits of a hash.
  local found, start = {}, stem_of('h', string.rep(' ', 64))
  start = string.sub(start, 1, 2) .. redis.sha1hex(tostring(q.now))
  keys_held(q, found, '[' .. start, '(i')
  keys_held(q, found, '[h', '(' .. start)
  let_go(q, found)
end
