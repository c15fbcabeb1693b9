-- Reads a range of a space in order together with the head.
-- KEYS: the head, the values and the order of the space. ARGV: where to begin and where to end, as ZRANGE takes them, "REV" or
-- "", the most entries, and how many bytes of them are enough.
-- Answers with version and head, with keys and values in turns, and with 1 where there are more.
local GROUP = 1000

local wrong = strangers(function(number) return number == 3 and 'zset' or 'hash' end)
if wrong then return wrong end

local head = redis.call('HMGET', KEYS[1], 'version', 'head')
local from, to, reverse = ARGV[1], ARGV[2], ARGV[3]
local entries, bytes = tonumber(ARGV[4]), tonumber(ARGV[5])
local taken, count, size = {}, 0, 0
while true do
    local most = math.min(entries - count + 1, GROUP)
    local question = { KEYS[3], from, to, 'BYLEX' }
    if reverse ~= '' then question[#question + 1] = reverse end
    question[#question + 1] = 'LIMIT'
    question[#question + 1] = 0
    question[#question + 1] = most
    local keys = redis.call('ZRANGE', unpack(question))
    if #keys == 0 then return { head, taken, 0 } end
    local values = redis.call('HMGET', KEYS[2], unpack(keys))
    for number, key in ipairs(keys) do
        if count >= entries or (size >= bytes and count > 0) then return { head, taken, 1 } end
        taken[2 * count + 1] = key
        taken[2 * count + 2] = values[number]
        count = count + 1
        size = size + #key + #(values[number] or '')
    end
    if #keys < most then return { head, taken, 0 } end
    from = '(' .. keys[#keys]
end
