-- A message's place in ready, or a new one at the end when what was stored is none.
local function sound_place(place, seq)
  if place and place > -2 ^ 53 and place < 2 ^ 53 then return place end
  return redis.call('INCR', seq)
end
