-- Whether the user may do all that a store and those who share it do. KEYS: a key of a partition.
-- ARGV: the channel on which they tell each other what was flushed.
for _, question in ipairs({
    { 'TYPE' }, { 'HGET', '' }, { 'HMGET', '' }, { 'HSET', '', '' }, { 'HDEL', '' }, { 'ZADD', '0', '' }, { 'ZREM', '' },
    { 'ZRANGE', '-', '+', 'BYLEX' }, { 'SADD', '' }, { 'SREM', '' }, { 'SMEMBERS' }, { 'DEL' }, { 'UNLINK' }, { 'EXPIRE', '1' },
    { 'HGETALL' }, { 'ZSCORE', '' }, { 'ZREMRANGEBYSCORE', '0', '0' }, { 'PEXPIRE', '1' },
}) do
    local wrong = forbidden(question[1], KEYS[1], unpack(question, 2))
    if wrong then return wrong end
end
return forbidden('PUBLISH', ARGV[1], '') or forbidden('SUBSCRIBE', ARGV[1]) or forbidden('TIME') or
    forbidden('SCRIPT', 'LOAD', '') or 'done'
