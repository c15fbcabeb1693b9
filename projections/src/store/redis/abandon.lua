-- Takes the catalogue away, so that no incarnation is in force.
-- KEYS: the catalogue, the set of former incarnations. Answers with 1 where there was one.
local wrong = stranger(KEYS[1], 'hash') or stranger(KEYS[2], 'set')
if wrong then return wrong end

local incarnation = redis.call('HGET', KEYS[1], 'incarnation')
if incarnation then redis.call('SADD', KEYS[2], incarnation) end
return redis.call('DEL', KEYS[1])
