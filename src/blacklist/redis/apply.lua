-- Writes what has changed, if the head is the one that was read before the ledger was asked.
-- ARGV: epoch, version, state, new position, new state, asked (of those '' for none), now, margin, lifetime of the head, channel;
-- then for each key after the first: D to forget, S<until> to refuse, C<not before>:<until> for a cutoff. Times in milliseconds.
local head = redis.pcall('HMGET', KEYS[1], 'epoch', 'version', 'state', 'server')
if head.err or head[1] ~= ARGV[1] or head[2] ~= ARGV[2] or head[3] ~= ARGV[3] then return -1 end
local server = string.match(redis.call('INFO', 'server'), 'run_id:([^\r\n]*)') or ''
local copy = string.match(redis.call('INFO', 'replication'), 'master_replid:([^\r\n]*)') or ''
if head[4] ~= server .. copy then return -1 end
local time = redis.call('TIME')
-- A clock that is ahead, here or there, must not make anything end early.
local now = math.min(time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[7]))
for i = 2, #KEYS do
    local change = ARGV[9 + i]
    local kind = string.sub(change, 1, 1)
    if kind == 'D' then
        redis.call('DEL', KEYS[i])
    else
        local value, ends = string.match(change, '^%a(%-?%d*):?(%-?%d*)$')
        if kind == 'S' then value, ends = '1', value end
        local ttl = math.max(tonumber(ends) - now + tonumber(ARGV[8]), 1)
        -- What is kept for longer stays for longer.
        ttl = math.max(ttl, redis.call('PTTL', KEYS[i]))
        if kind == 'C' then
            local old = redis.pcall('GET', KEYS[i])
            old = type(old) == 'string' and string.match(old, '^%-?%d+$')
            if old and tonumber(old) > tonumber(value) then value = old end
        end
        redis.call('SET', KEYS[i], value, 'PX', string.format('%.0f', ttl))
    end
end
local version = tonumber(head[2])
if #KEYS > 1 or ARGV[4] ~= '' or ARGV[5] ~= '' then version = redis.call('HINCRBY', KEYS[1], 'version', 1) end
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'position', ARGV[4]) end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'state', ARGV[5]) end
if ARGV[6] ~= '' then
    local old = redis.call('HGET', KEYS[1], 'asked')
    if not old or tonumber(old) < tonumber(ARGV[6]) then redis.call('HSET', KEYS[1], 'asked', ARGV[6]) end
end
redis.call('PEXPIRE', KEYS[1], ARGV[9])
-- Whoever may not publish does without.
if #KEYS > 1 or ARGV[5] ~= '' then redis.pcall('PUBLISH', ARGV[10], ARGV[1]) end
return version
