-- Who folds what: a member says that it is alive, gives back what is more than its share, and takes what is nobody's.
-- KEYS: the living members by when they are taken for dead; the partitions, each with its member.
-- ARGV: the member; how many partitions there are; how long it is taken for alive, in milliseconds.
local members, claims = KEYS[1], KEYS[2]
local me, partitions, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', members, now + lease, me)
redis.call('ZREMRANGEBYSCORE', members, '-inf', now)
local living = redis.call('ZRANGE', members, 0, -1)
-- By name, so that all agree who has one more where it cannot be even.
table.sort(living)
local alive, rank = {}, 0
for index, member in ipairs(living) do
  alive[member] = true
  if member == me then rank = index - 1 end
end
local share = math.floor(partitions / #living)
if rank < partitions % #living then share = share + 1 end
local owners, mine, free = {}, {}, {}
local claimed = redis.call('HGETALL', claims)
for index = 1, #claimed, 2 do owners[tonumber(claimed[index])] = claimed[index + 1] end
for partition = 0, partitions - 1 do
  local owner = owners[partition]
  if owner == me then
    table.insert(mine, partition)
  elseif not owner or not alive[owner] then
    table.insert(free, partition)
  end
end
while #mine > share do
  redis.call('HDEL', claims, table.remove(mine))
end
for _, partition in ipairs(free) do
  if #mine >= share then break end
  redis.call('HSET', claims, partition, me)
  table.insert(mine, partition)
end
-- Nothing is left of processes that are all gone.
redis.call('PEXPIRE', members, 10 * lease)
redis.call('PEXPIRE', claims, 10 * lease)
return mine
