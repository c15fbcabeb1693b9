-- Ends a partition of a former incarnation: whoever still works on it is refused, until long after it has noticed.
-- KEYS: the head, the set of the partition's keys. ARGV: for how many seconds. Answers with the keys that are left to delete.
local wrong = stranger(KEYS[1], 'hash') or stranger(KEYS[2], 'set')
if wrong then return wrong end

redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'version', 'gone')
redis.call('EXPIRE', KEYS[1], ARGV[1])
return redis.call('SMEMBERS', KEYS[2])
