-- An error that names what the user may not do, of what is about to be done: nothing may fail once something is written.
local function forbidden(...)
    if not redis.acl_check_cmd(...) then
        local command, key = ...
        return redis.error_reply('NOPERM the user may not do ' .. command .. (key and ' on ' .. key or '') ..
            ': give it the rights that docs/stores.md lists')
    end
end
