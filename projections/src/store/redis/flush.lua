-- Changes a partition in one step, if it stands where the flush starts from. Before it writes anything it makes sure that
-- nothing can fail: Lua stops at an error, but takes nothing back.
-- KEYS: the head, the set of the partition's keys, and of each space that changes the values and the order.
-- ARGV: the version to start from or "", the new version, the new head; then for each space how many values are set and how many
-- keys are taken away, and these: a key and a value each, a key each.
-- Answers with "done" or "refused".
local GROUP = 6000

local function types(number)
    if number == 1 then return 'hash' end
    if number == 2 then return 'set' end
    return number % 2 == 1 and 'hash' or 'zset'
end
local wrong = strangers(types)
if wrong then return wrong end

local stored = redis.call('HGET', KEYS[1], 'version') or ''
if stored ~= ARGV[1] then return stored == ARGV[2] and 'done' or 'refused' end

local function each_space(change)
    local at = 4
    for number = 3, #KEYS, 2 do
        local sets, removals = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
        local wrong = change(KEYS[number], KEYS[number + 1], at + 2, sets, removals)
        if wrong then return wrong end
        at = at + 2 + 2 * sets + removals
    end
end

wrong = forbidden('HSET', KEYS[1], 'version', '') or forbidden('SADD', KEYS[2], '') or
    each_space(function(values, order, _, sets, removals)
        return sets > 0 and (forbidden('HSET', values, '', '') or forbidden('ZADD', order, '0', '')) or
            removals > 0 and (forbidden('HDEL', values, '') or forbidden('ZREM', order, '')) or nil
    end)
if wrong then return wrong end

each_space(function(values, order, at, sets, removals)
    if sets > 0 then redis.call('SADD', KEYS[2], values, order) end
    local last = at + 2 * sets - 1
    for first = at, last, GROUP do
        local till, scored = math.min(first + GROUP - 1, last), {}
        for index = first, till, 2 do
            scored[index - first + 1] = '0'
            scored[index - first + 2] = ARGV[index]
        end
        redis.call('HSET', values, unpack(ARGV, first, till))
        redis.call('ZADD', order, unpack(scored))
    end
    at, last = last + 1, last + removals
    for first = at, last, GROUP do
        local till = math.min(first + GROUP - 1, last)
        redis.call('HDEL', values, unpack(ARGV, first, till))
        redis.call('ZREM', order, unpack(ARGV, first, till))
    end
end)
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'head', ARGV[3])
return 'done'
