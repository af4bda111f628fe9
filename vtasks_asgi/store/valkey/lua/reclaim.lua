#!lua flags=allow-oom
-- Lets go what limits have held back for those that have gone. Takes over expired leases, the
-- longest expired first.
-- KEYS: lease own t m h n c ready sched limits pace idle l line
-- ARGV: limit, lease in seconds, token (16 characters), worker
-- Returns: ids; what was in own; bodies; metas, the crash counted; histories; notes; marks of
--   cancellation
-- Invariant: the token changes, so that who held it before can neither extend nor settle.
-- INCLUDE: lib_line
-- INCLUDE: lib_limits
-- INCLUDE: lib_gates
-- INCLUDE: lib_sweep
local LEASE, OWN, T, M, H = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local stamp = struct.pack('>d', now)
local q = {now = now, own = OWN, lease = LEASE, m = M, ready = KEYS[8], sched = KEYS[9],
  limits = KEYS[10], pace = KEYS[11], idle = KEYS[12], l = KEYS[13], line = KEYS[14]}
sweep(q)
local limit = math.min(tonumber(ARGV[1]), 1000)
if limit < 1 then return {} end
local ids = redis.call('ZRANGEBYSCORE', LEASE, '-inf', now, 'LIMIT', 0, limit)
if #ids == 0 then return {} end

local lost = redis.call('HMGET', OWN, unpack(ids))
local bodies = redis.call('HMGET', T, unpack(ids))
local metas = redis.call('HMGET', M, unpack(ids))
local histories = redis.call('HMGET', H, unpack(ids))
local notes = redis.call('HMGET', KEYS[6], unpack(ids))
local head = ARGV[3] .. stamp .. struct.pack('>H', #ARGV[4]) .. ARGV[4]
local expiry = now + ARGV[2]
local own, lease, counted = {}, {}, {}
for i, id in ipairs(ids) do
  local score = '0'
  if lost[i] and #lost[i] >= 26 then
    score = string.sub(lost[i], 27 + struct.unpack('>H', lost[i], 25))
  end
  local run_at, place, attempt, crashes, tail = -math.huge, tonumber(score) or 0, 0, 0, ''
  if metas[i] and #metas[i] >= 24 then
    run_at, place, attempt, crashes = struct.unpack('>ddII', metas[i])
    tail = string.sub(metas[i], 25)
  end
  metas[i] = struct.pack('>ddII', run_at, place, attempt, crashes + 1) .. tail
  if not bodies[i] then
    redis.call('HSET', T, id, stamp)
    bodies[i] = stamp
  end
  own[2 * i - 1] = id
  own[2 * i] = head .. score
  lease[2 * i - 1] = expiry
  lease[2 * i] = id
  counted[2 * i - 1] = id
  counted[2 * i] = metas[i]
end
redis.call('HSET', OWN, unpack(own))
redis.call('ZADD', LEASE, unpack(lease))
redis.call('HSET', M, unpack(counted))
return {ids, lost, bodies, metas, histories, notes, redis.call('HMGET', KEYS[7], unpack(ids))}
