#!lua
-- Decides a batch of claims on one sale: checks, decrements and enqueues in one step.
--
-- Guarantees: a claim whose (buyer, key) was accepted before gets that order back, whatever else holds now;
-- all lines of a claim succeed or none; stock never goes below zero; one log entry per accepted order, those of a call in one
-- entry of the stream.
-- A batch in which nothing is accepted only reads. Everything is checked before the first write, since
-- Redis does not roll back.
--
-- KEYS  1 meta   2 sale   3 buyers   4 log
-- ARGV  1 backlog_max (entries)   2 number of SKUs   3 number of claims   then the SKUs, then the buyer of each claim,
--       then for each claim:
--         head   30 characters: key digest (11), body fingerprint (11), random part of the order id (8)
--         entry  the value of the log entry, made by the node
--         n      number of lines; negative: over its rate of attempts, so it may only find its order
--         n times: index of the SKU (from 1), quantity
-- Reply 1 the time (ms)   2 the sale's opens_at (ms)   3 the place in the log of the first that is accepted, or ""
--       then one text for each claim:
--         A              accepted: the next place in the log    D id rand  accepted before (duplicate)
--         M              key used with another body             R          over its rate
--         N P C          not open yet, paused, closed
--         L i            limit of SKU i reached (0: orders per buyer)
--         S i, I i left  SKU i sold out, has less than asked
--         B              backlog is full
--         X              the sale, its buyers or a SKU's stock is not here: closed, never zero
-- Error FENCED stamp|lease
-- @include fence
-- @include append_orders
local fenced, now_ms = fence(KEYS[1])
if fenced then return fenced end

local HEAD, KEY_DIGEST = 30, 11
local ORDERS_PER_BUYER_MAX = 100
local args = ARGV
local call, sub, format = redis.call, string.sub, string.format
-- Numbers among the arguments: few, and each many times.
local number = setmetatable({}, { __index = function(read, text)
  read[text] = tonumber(text)
  return read[text]
end })

-- The sale: control, window, and for each SKU its stock and limit.
local sku_count, claim_count = tonumber(args[2]), tonumber(args[3])
local fields = { 'control', 'opens_at', 'closes_at' }
local skus = {}
for i = 1, sku_count do
  local sku = args[3 + i]
  skus[i] = sku
  fields[2 + 2 * i] = 'stock:' .. sku
  fields[3 + 2 * i] = 'limit:' .. sku
end
local sale = call('HMGET', KEYS[2], unpack(fields))
local control, opens_at, closes_at = sale[1], tonumber(sale[2]), tonumber(sale[3])
local stock, limit, limited = {}, {}, false
for i = 1, sku_count do
  stock[i] = tonumber(sale[2 + 2 * i])
  limit[i] = tonumber(sale[3 + 2 * i])
  limited = limited or limit[i] ~= nil
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

-- What each buyer of the batch already has.
local buyers_at = 3 + sku_count
local known = {} -- buyer -> records as stored, or false
local found = call('HMGET', KEYS[3], ' ', unpack(args, buyers_at + 1, buyers_at + claim_count))
-- Without this field (see publish_sale) the key was deleted: nobody's orders are known.
if not found[1] then closed_reply = 'X' end
for c = 1, claim_count do
  known[args[buyers_at + c]] = found[1 + c]
end
local fresh = {} -- buyer -> the last order that this batch accepted; each knows the one before it
local holdings = {} -- buyer -> his orders and units, counted when they are first needed

-- The order that this buyer has under this key: its reply, or an order of this batch; nil for none.
local function find_order(buyer, head)
  local digest = sub(head, 1, KEY_DIGEST)
  local body = sub(head, KEY_DIGEST + 1, 2 * KEY_DIGEST)
  local order = fresh[buyer]
  while order do
    if sub(order.head, 1, KEY_DIGEST) == digest then
      return sub(order.head, KEY_DIGEST + 1, 2 * KEY_DIGEST) == body and order or 'M'
    end
    order = order.earlier
  end
  local records = known[buyer]
  if not records then return nil end
  local at = 1
  if sub(records, 1, KEY_DIGEST) ~= digest then
    -- Every later record follows a ';', which stands nowhere else.
    local behind = string.find(records, ';' .. digest, 1, true)
    if not behind then return nil end
    at = behind + 1
  end
  if sub(records, at + KEY_DIGEST, at + 2 * KEY_DIGEST - 1) ~= body then return 'M' end
  return 'D ' .. string.match(records, '^%S+', at + HEAD) .. ' ' .. sub(records, at + 2 * KEY_DIGEST, at + HEAD - 1)
end

local function add_order(held, lines)
  held.orders = held.orders + 1
  if not limited then return end
  for sku, quantity in string.gmatch(lines, '([^:,]+):(%d+)') do
    held.units[sku] = (held.units[sku] or 0) + quantity
  end
end

-- Orders this buyer has, and units of each SKU in them where any is limited. Patterns that cannot match late: this is
-- what a buyer with
-- many orders can make Redis do for each of his claims.
local function holdings_of(buyer)
  local held = holdings[buyer]
  if held then return held end
  held = { orders = 0, units = {} }
  for lines in string.gmatch(known[buyer] or '', ' ([^;]*);') do add_order(held, lines) end
  local order = fresh[buyer]
  while order do
    add_order(held, order.lines)
    order = order.earlier
  end
  holdings[buyer] = held
  return held
end

-- Why stock and limits refuse the lines between these arguments, or nil. Limits of all come before stock of any.
local function refusal(first, last, held)
  local short
  for l = first, last, 2 do
    local i, quantity = number[args[l]], number[args[l + 1]]
    if limit[i] and (held and held.units[skus[i]] or 0) + quantity > limit[i] then return 'L ' .. i end
    local left = stock[i]
    if short then
      -- The first line that falls short is the one that is named.
    elseif not left then
      short = 'X'
    elseif left <= 0 then
      short = 'S ' .. args[l]
    elseif left < quantity then
      short = 'I ' .. args[l] .. ' ' .. left
    end
  end
  return short
end

local backlog_room -- read once, when the first claim could be accepted
local accepted, changed = {}, {}

-- Decides the claim whose arguments begin at `at`: a text, or an order.
local function decide(buyer, at, lines)
  local head = args[at]
  local has_orders = known[buyer] or fresh[buyer]
  if has_orders then
    local order = find_order(buyer, head)
    if order then return order end
  end
  if lines < 0 then return 'R' end
  if closed_reply then return closed_reply end

  local held = has_orders and holdings_of(buyer)
  if held and held.orders >= ORDERS_PER_BUYER_MAX then return 'L 0' end
  local first, last = at + 3, at + 1 + 2 * lines
  local refused = refusal(first, last, held)
  if refused then return refused end
  if not backlog_room then
    local backlog = call('HMGET', KEYS[1], 'appended', 'settled')
    -- The log always holds at least its opening entry: without one it was deleted under us.
    if call('XLEN', KEYS[4]) == 0 then return 'X' end
    backlog_room = tonumber(args[1]) - (tonumber(backlog[1]) - tonumber(backlog[2]))
  end
  if #accepted >= backlog_room then return 'B' end

  local text
  for l = first, last, 2 do
    local i, quantity = number[args[l]], args[l + 1]
    stock[i] = stock[i] - number[quantity]
    changed[i] = true
    local line = skus[i] .. ':' .. quantity
    text = text and text .. ',' .. line or line
  end
  local order = { buyer = buyer, head = head, entry = args[at + 1], lines = text, earlier = fresh[buyer] }
  accepted[#accepted + 1] = order
  fresh[buyer] = order
  if held then add_order(held, text) end
  return order
end

local decisions = {}
local at = buyers_at + claim_count + 1
for c = 1, claim_count do
  local lines = number[args[at + 2]]
  decisions[c] = decide(args[buyers_at + c], at, lines)
  at = at + 3 + 2 * math.abs(lines)
end

-- From here nothing is refused any more.
if #accepted > 0 then
  local entries, stocks, records = {}, {}, {}
  for o, order in ipairs(accepted) do
    entries[2 * o - 1] = 'order'
    entries[2 * o] = order.entry
  end
  local ms, seq = append_orders(KEYS[4], now_ms, entries)
  for o, order in ipairs(accepted) do
    -- Not `..`, which prints a number by way of a float's digits.
    order.id = format('%s-%d', ms, seq + o - 1)
    known[order.buyer] = (known[order.buyer] or '') .. order.head .. order.id .. ' ' .. order.lines .. ';'
  end
  for buyer in pairs(fresh) do
    records[#records + 1] = buyer
    records[#records + 1] = known[buyer]
  end
  for i in pairs(changed) do
    stocks[#stocks + 1] = 'stock:' .. skus[i]
    stocks[#stocks + 1] = stock[i]
  end
  call('HSET', KEYS[2], unpack(stocks))
  call('HSET', KEYS[3], unpack(records))
  call('HINCRBY', KEYS[1], 'appended', #accepted)
end

local reply = { now_ms, opens_at or 0, accepted[1] and accepted[1].id or '' }
for c = 1, claim_count do
  local order = decisions[c]
  if type(order) == 'string' then
    reply[3 + c] = order
  elseif order.told then
    reply[3 + c] = 'D ' .. order.id .. ' ' .. sub(order.head, 2 * KEY_DIGEST + 1, HEAD)
  else
    order.told = true
    reply[3 + c] = 'A'
  end
end
return reply
