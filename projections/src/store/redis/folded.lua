-- The partitions that are a living member's. KEYS as in claim.lua.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local folded = {}
local claims = redis.call('HGETALL', KEYS[2])
for index = 1, #claims, 2 do
  local dies = redis.call('ZSCORE', KEYS[1], claims[index + 1])
  if dies and tonumber(dies) > now then table.insert(folded, tonumber(claims[index])) end
end
return folded
