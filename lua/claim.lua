#!lua
-- Decides a batch of claims on one sale: checks, decrements and enqueues in one step.
--
-- Guarantees: a claim whose (buyer, key) was accepted before gets that order back, whatever else holds now;
-- all lines of a claim succeed or none; stock never goes below zero; one log entry per accepted order.
-- A batch in which nothing is accepted only reads. Everything is checked before the first write, since
-- Redis does not roll back.
--
-- KEYS  1 meta   2 sale   3 buyers   4 log
-- ARGV  1 backlog_max (entries)   2 number of SKUs   then the SKUs, then for each claim:
--         buyer
--         head   30 characters: key digest (11), body fingerprint (11), random part of the order id (8)
--         entry  the value of the log entry, made by the node
--         n      number of lines; negative: over its rate of attempts, so it may only find its order
--         n times: index of the SKU (from 1), quantity
-- Reply 1 the time (ms)   2 the sale's opens_at (ms)   then one text for each claim:
--         A id           accepted, entry id          D id rand  accepted before (duplicate)
--         M              key used with another body   R          over its rate
--         N P C          not open yet, paused, closed
--         L i            limit of SKU i reached (0: orders per buyer)
--         S i, I i left  SKU i sold out, has less than asked
--         B              backlog is full
--         X              the sale or a SKU's stock is not here: closed, never zero
-- Error FENCED stamp|lease
-- @include fence
local fenced, now_ms = fence(KEYS[1])
if fenced then return fenced end

local HEAD, KEY_DIGEST = 30, 11
local ORDERS_PER_BUYER_MAX = 100

-- Read the sale: control, window, and for each SKU its stock and limit.
local sku_count = tonumber(ARGV[2])
local fields = { 'control', 'opens_at', 'closes_at' }
local skus = {}
for i = 1, sku_count do
  local sku = ARGV[2 + i]
  skus[i] = sku
  fields[2 + 2 * i] = 'stock:' .. sku
  fields[3 + 2 * i] = 'limit:' .. sku
end
local sale = redis.call('HMGET', KEYS[2], unpack(fields))
local control, opens_at, closes_at = sale[1], tonumber(sale[2]), tonumber(sale[3])
local stock, limit = {}, {}
for i = 1, sku_count do
  stock[i] = tonumber(sale[2 + 2 * i])
  limit[i] = tonumber(sale[3 + 2 * i])
end

local closed_reply
if not control then
  closed_reply = 'X'
elseif control == 'closed' or now_ms >= closes_at then
  closed_reply = 'C'
elseif control == 'paused' then
  closed_reply = 'P'
elseif now_ms < opens_at then
  closed_reply = 'N'
end

-- Read what each buyer of the batch already has.
local claims, buyers = {}, {}
local at = 3 + sku_count
while at <= #ARGV do
  local lines = math.abs(tonumber(ARGV[at + 3]))
  local n = #claims + 1
  claims[n] = at
  buyers[n] = ARGV[at]
  at = at + 4 + 2 * lines
end
local known = {} -- buyer -> records, or false
local found = redis.call('HMGET', KEYS[3], unpack(buyers))
for i = 1, #buyers do
  known[buyers[i]] = found[i]
end
local fresh = {} -- buyer -> orders accepted by this batch, newest last

-- The order that this buyer has under this key: its reply, or nil.
local function find_order(buyer, head)
  local digest = string.sub(head, 1, KEY_DIGEST)
  local body = string.sub(head, KEY_DIGEST + 1, 2 * KEY_DIGEST)
  for _, order in ipairs(fresh[buyer] or {}) do
    if string.sub(order.head, 1, KEY_DIGEST) == digest then
      if string.sub(order.head, KEY_DIGEST + 1, 2 * KEY_DIGEST) ~= body then return 'M' end
      return order
    end
  end
  for record in string.gmatch(known[buyer] or '', '[^;]+') do
    if string.sub(record, 1, KEY_DIGEST) == digest then
      if string.sub(record, KEY_DIGEST + 1, 2 * KEY_DIGEST) ~= body then return 'M' end
      return 'D ' .. string.match(record, '^%S+', HEAD + 1) .. ' ' .. string.sub(record, 2 * KEY_DIGEST + 1, HEAD)
    end
  end
  return nil
end

-- Orders this buyer has, and units of each SKU in them.
local function holdings(buyer)
  local orders, units = 0, {}
  for record in string.gmatch(known[buyer] or '', '[^;]+') do
    orders = orders + 1
    for sku, quantity in string.gmatch(record, '([^%s:,]+):(%d+)') do
      units[sku] = (units[sku] or 0) + tonumber(quantity)
    end
  end
  for _, order in ipairs(fresh[buyer] or {}) do
    orders = orders + 1
    for sku, quantity in pairs(order.units) do
      units[sku] = (units[sku] or 0) + quantity
    end
  end
  return orders, units
end

local backlog_room -- read once, when the first claim could be accepted
local accepted = {}

-- Decides the claim whose arguments begin at `at`: a text, or an order.
local function decide(at)
  local buyer, head = ARGV[at], ARGV[at + 1]
  local has_orders = known[buyer] or fresh[buyer]
  if has_orders then
    local order = find_order(buyer, head)
    if order then return order end
  end
  local lines = tonumber(ARGV[at + 3])
  if lines < 0 then return 'R' end
  if closed_reply then return closed_reply end

  local orders, units = 0, nil
  if has_orders then
    orders, units = holdings(buyer)
    if orders >= ORDERS_PER_BUYER_MAX then return 'L 0' end
  end
  for l = 1, lines do
    local i, quantity = tonumber(ARGV[at + 2 + 2 * l]), tonumber(ARGV[at + 3 + 2 * l])
    if limit[i] and (units and units[skus[i]] or 0) + quantity > limit[i] then return 'L ' .. i end
  end
  for l = 1, lines do
    local i, quantity = tonumber(ARGV[at + 2 + 2 * l]), tonumber(ARGV[at + 3 + 2 * l])
    if not stock[i] then return 'X' end
    if stock[i] < quantity then
      if stock[i] <= 0 then return 'S ' .. i end
      return 'I ' .. i .. ' ' .. stock[i]
    end
  end
  if not backlog_room then
    local backlog = redis.call('HMGET', KEYS[1], 'appended', 'settled')
    backlog_room = tonumber(ARGV[1]) - (tonumber(backlog[1]) - tonumber(backlog[2]))
    -- The log always holds at least its opening entry: without one it was deleted under us.
    if redis.call('XLEN', KEYS[4]) == 0 then backlog_room = nil end
    if not backlog_room then return 'X' end
  end
  if #accepted >= backlog_room then return 'B' end

  local order = { buyer = buyer, head = head, entry = ARGV[at + 2], units = {}, lines = {} }
  for l = 1, lines do
    local i, quantity = tonumber(ARGV[at + 2 + 2 * l]), tonumber(ARGV[at + 3 + 2 * l])
    stock[i] = stock[i] - quantity
    order.units[skus[i]] = quantity
    order.lines[l] = skus[i] .. ':' .. quantity
    order[l] = i
  end
  accepted[#accepted + 1] = order
  local of_buyer = fresh[buyer]
  if of_buyer then of_buyer[#of_buyer + 1] = order else fresh[buyer] = { order } end
  return order
end

local decisions = {}
for i = 1, #claims do
  decisions[i] = decide(claims[i])
end

-- From here nothing is refused any more.
if #accepted > 0 then
  local stocks, records, changed = {}, {}, {}
  for _, order in ipairs(accepted) do
    order.id = redis.call('XADD', KEYS[4], '*', 'order', order.entry)
    known[order.buyer] = (known[order.buyer] or '') ..
        order.head .. order.id .. ' ' .. table.concat(order.lines, ',') .. ';'
    for l = 1, #order do changed[order[l]] = true end
  end
  for buyer in pairs(fresh) do
    records[#records + 1] = buyer
    records[#records + 1] = known[buyer]
  end
  for i in pairs(changed) do
    stocks[#stocks + 1] = 'stock:' .. skus[i]
    stocks[#stocks + 1] = stock[i]
  end
  redis.call('HSET', KEYS[2], unpack(stocks))
  redis.call('HSET', KEYS[3], unpack(records))
  redis.call('HINCRBY', KEYS[1], 'appended', #accepted)
end

local reply = { now_ms, opens_at or 0 }
for i = 1, #decisions do
  local order = decisions[i]
  if type(order) == 'string' then
    reply[2 + i] = order
  elseif order.told then
    reply[2 + i] = 'D ' .. order.id .. ' ' .. string.sub(order.head, 2 * KEY_DIGEST + 1, HEAD)
  else
    order.told = true
    reply[2 + i] = 'A ' .. order.id
  end
end
return reply
