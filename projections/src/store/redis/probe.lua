-- Whether the user may do all that a store does. KEYS: a key of a partition.
for _, question in ipairs({
    { 'TYPE' }, { 'HGET', '' }, { 'HMGET', '' }, { 'HSET', '', '' }, { 'HDEL', '' }, { 'ZADD', '0', '' }, { 'ZREM', '' },
    { 'ZRANGE', '-', '+', 'BYLEX' }, { 'SADD', '' }, { 'SREM', '' }, { 'SMEMBERS' }, { 'DEL' }, { 'UNLINK' }, { 'EXPIRE', '1' },
}) do
    local wrong = forbidden(question[1], KEYS[1], unpack(question, 2))
    if wrong then return wrong end
end
return 'done'
