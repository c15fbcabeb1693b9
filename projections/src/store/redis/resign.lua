-- A member folds no more: what was its is nobody's. KEYS as in claim.lua; ARGV: the member.
redis.call('ZREM', KEYS[1], ARGV[1])
local claims = redis.call('HGETALL', KEYS[2])
for index = 1, #claims, 2 do
  if claims[index + 1] == ARGV[1] then redis.call('HDEL', KEYS[2], claims[index]) end
end
return redis.status_reply('OK')
