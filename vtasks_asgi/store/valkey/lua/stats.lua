#!lua flags=no-writes,allow-oom
-- Counts a queue.
-- KEYS: ready sched lease dead t m pause
-- ARGV: none
-- Returns: ready, delayed, running, dead, seconds since the longest-waiting became ready or '', is
--   it paused (1 or 0)
-- Invariant: changes nothing, and takes the same time however many are queued.
-- INCLUDE: lib_pause
local READY, SCHED, T, M = KEYS[1], KEYS[2], KEYS[5], KEYS[6]
local BAND, BANDS, LOOK = 2 ^ 45, 200, 50
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local due = redis.call('ZCOUNT', SCHED, '-inf', now)
local oldest = nil

local function waits(since)
  if not oldest or since < oldest then oldest = since end
end

local function moment(value, otherwise)
  if not value or #value < 8 then return otherwise end
  local at = struct.unpack('>d', value)
  return at > 0 and at < 2 ^ 53 and at or otherwise
end

-- When it became ready: at its push, or when it was due; and which of the two it was.
local function since(id)
  local pushed = moment(redis.call('HGET', T, id), now)
  local run_at = moment(redis.call('HGET', M, id), pushed)
  return math.max(pushed, run_at), run_at <= pushed
end

-- Within a priority the first message that was never delayed or tried is the oldest of its kind, so
-- only those before it need a look. Of many such (a backlog of retries) the first LOOK are asked.
local function text(place) return string.format('%.17g', place) end

local from, top = -BANDS * BAND, text(BANDS * BAND)
while true do
  local first = redis.call('ZRANGEBYSCORE', READY, text(from), top, 'WITHSCORES', 'LIMIT', 0, 1)
  if #first == 0 then break end
  local band = math.floor(first[2] / BAND) * BAND
  local start, fresh = 0, false
  while not fresh and start < LOOK do
    local last = '(' .. text(band + BAND)
    local id = redis.call('ZRANGEBYSCORE', READY, first[2], last, 'LIMIT', start, 1)[1]
    if not id then break end
    local at
    at, fresh = since(id)
    waits(at)
    start = start + 1
  end
  from = band + BAND
end
if due > 0 then
  waits(tonumber(redis.call('ZRANGE', SCHED, 0, 0, 'WITHSCORES')[2]))
end

return {
  redis.call('ZCARD', READY) + due,
  redis.call('ZCARD', SCHED) - due,
  redis.call('ZCARD', KEYS[3]),
  redis.call('ZCARD', KEYS[4]),
  oldest and string.format('%.6f', math.max(0, now - oldest)) or '',
  pause_end(redis.call('HGET', KEYS[7], 'until'), now) and 1 or 0,
}
