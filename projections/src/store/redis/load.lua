-- Reads keys of some spaces together with the head.
-- KEYS: the head, and the values of each space. ARGV: for each space how many keys, and these.
-- Answers with version and head, and for each space with a value or nothing for each key.
local GROUP = 6000

local wrong = strangers(function() return 'hash' end)
if wrong then return wrong end

local answer, at = { redis.call('HMGET', KEYS[1], 'version', 'head') }, 1
for number = 2, #KEYS do
    local found, last = {}, at + tonumber(ARGV[at])
    for first = at + 1, last, GROUP do
        local values = redis.call('HMGET', KEYS[number], unpack(ARGV, first, math.min(first + GROUP - 1, last)))
        for _, value in ipairs(values) do found[#found + 1] = value end
    end
    answer[number] = found
    at = last + 1
end
return answer
