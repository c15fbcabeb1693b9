-- Puts a catalogue in force, with an incarnation in which every partition is empty.
-- KEYS: the catalogue, the set of former incarnations. ARGV: the text, the incarnation, and the number below which another
-- catalogue must be for that, or "" where it may be any.
-- Answers with the text, the incarnation and the number that are in force then.
local wrong = stranger(KEYS[1], 'hash') or stranger(KEYS[2], 'set') or
    forbidden('HSET', KEYS[1], 'text', '') or forbidden('SADD', KEYS[2], '')
if wrong then return wrong end

local before = redis.call('HMGET', KEYS[1], 'incarnation', 'number')
local number = tonumber(before[2] or '0')
local least = ARGV[3] == '' and math.huge or tonumber(ARGV[3])
-- The same one once more is a repeated question.
if before[1] ~= ARGV[2] and number < least then
    if before[1] then redis.call('SADD', KEYS[2], before[1]) end
    number = ARGV[3] == '' and number + 1 or tonumber(ARGV[3])
    redis.call('HSET', KEYS[1], 'text', ARGV[1], 'incarnation', ARGV[2], 'number', string.format('%d', number))
end
return redis.call('HMGET', KEYS[1], 'text', 'incarnation', 'number')
