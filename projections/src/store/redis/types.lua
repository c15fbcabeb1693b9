-- An error that names the key, where somebody else has put something of another type there.
local function stranger(key, expected)
    local found = redis.call('TYPE', key).ok
    if found ~= 'none' and found ~= expected then
        return redis.error_reply('MISPLACED the key ' .. key .. ' is a ' .. found .. ', not a ' .. expected ..
            ' of refold: somebody else has put it there; delete it or move it away')
    end
end

-- The first of such errors.
local function strangers(expected)
    for number, key in ipairs(KEYS) do
        local wrong = stranger(key, expected(number))
        if wrong then return wrong end
    end
end
