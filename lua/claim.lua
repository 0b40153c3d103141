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
local DIGITS = { [0] = '0', '1', '2', '3', '4', '5', '6', '7', '8', '9' }
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
local stock, limit, limited, changed = {}, {}, false, {}
for i = 1, sku_count do
  stock[i] = tonumber(sale[2 + 2 * i])
  limit[i] = tonumber(sale[3 + 2 * i])
  limited = limited or limit[i] ~= nil
  changed[i] = false
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
local known = {} -- buyer -> records as stored
local found = call('HMGET', KEYS[3], ' ', unpack(args, buyers_at + 1, buyers_at + claim_count))
-- Without this field (see publish_sale) the key was deleted: nobody's orders are known.
if not found[1] then closed_reply = 'X' end
for c = 1, claim_count do
  if found[1 + c] then known[args[buyers_at + c]] = found[1 + c] end
end

-- The orders that this batch accepts: not a table for each, which would be a twentieth of this call.
local accepted = 0
local entries, buyer_of, head_of, lines_of = {}, {}, {}, {}
local earlier_of = {} -- the one before it of the same buyer
local fresh = {} -- buyer -> his last
local holdings = {} -- buyer -> his orders and units, counted when they are first needed

-- The order that this buyer has under this key: its reply, or the number of an order of this batch and true; nil for none.
local function find_order(buyer, head)
  local digest = sub(head, 1, KEY_DIGEST)
  local body = sub(head, KEY_DIGEST + 1, 2 * KEY_DIGEST)
  local order = fresh[buyer]
  while order do
    local head_then = head_of[order]
    if sub(head_then, 1, KEY_DIGEST) == digest then
      if sub(head_then, KEY_DIGEST + 1, 2 * KEY_DIGEST) == body then return order, true end
      return 'M'
    end
    order = earlier_of[order]
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
    add_order(held, lines_of[order])
    order = earlier_of[order]
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

-- Decides the claim whose arguments begin at `at`: its reply, or as `find_order`.
local function decide(buyer, at, lines)
  local head = args[at]
  local has_orders = known[buyer] or fresh[buyer]
  if has_orders then
    local found_order, is_order = find_order(buyer, head)
    if found_order then return found_order, is_order end
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
  if accepted >= backlog_room then return 'B' end

  local text
  for l = first, last, 2 do
    local i, quantity = number[args[l]], args[l + 1]
    stock[i] = stock[i] - number[quantity]
    changed[i] = true
    local line = skus[i] .. ':' .. quantity
    text = text and text .. ',' .. line or line
  end
  accepted = accepted + 1
  entries[2 * accepted - 1], entries[2 * accepted] = 'order', args[at + 1]
  buyer_of[accepted], head_of[accepted], lines_of[accepted] = buyer, head, text
  earlier_of[accepted], fresh[buyer] = fresh[buyer], accepted
  if held then add_order(held, text) end
  return 'A'
end

local reply = { now_ms, opens_at or 0, '' }
local again = {} -- place in the reply -> the order of this batch that is told once more
local at = buyers_at + claim_count + 1
for c = 1, claim_count do
  local lines = number[args[at + 2]]
  local decided, is_order = decide(args[buyers_at + c], at, lines)
  if is_order then again[3 + c] = decided end
  reply[3 + c] = decided
  at = at + 3 + 2 * (lines < 0 and -lines or lines)
end

-- From here nothing is refused any more.
if accepted > 0 then
  local ms, seq = append_orders(KEYS[4], now_ms, entries)
  local function id_of(o) return format('%s-%d', ms, seq + o - 1) end
  local stocks, record_of = {}, {}
  local records, written = {}, 0 -- of each buyer the last, which has all of his
  -- A text for the last digit of their ids, and one for what is in front of it, for ten of them: to format them all is a
  -- twelfth of this call.
  local digit, stem = 9
  for o = 1, accepted do
    digit = digit + 1
    if digit > 9 then
      digit = (seq + o - 1) % 10
      stem = sub(id_of(o), 1, -2)
    end
    local earlier = earlier_of[o]
    local before = earlier and record_of[earlier] or known[buyer_of[o]] or ''
    record_of[o] = before .. head_of[o] .. stem .. DIGITS[digit] .. ' ' .. lines_of[o] .. ';'
    if fresh[buyer_of[o]] == o then
      written = written + 2
      records[written - 1], records[written] = buyer_of[o], record_of[o]
    end
  end
  local n = 0
  for i = 1, sku_count do
    if changed[i] then
      stocks[n + 1], stocks[n + 2] = fields[2 + 2 * i], format('%d', stock[i])
      n = n + 2
    end
  end
  call('HSET', KEYS[2], unpack(stocks))
  call('HSET', KEYS[3], unpack(records))
  call('HINCRBY', KEYS[1], 'appended', accepted)
  reply[3] = id_of(1)
  for place, o in pairs(again) do
    reply[place] = 'D ' .. id_of(o) .. ' ' .. sub(head_of[o], 2 * KEY_DIGEST + 1, HEAD)
  end
end
return reply
