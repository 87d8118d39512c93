--- A second, slow and plain reading of RFC 8259, to judge core/parsers/json.c by.
--
-- A value is { kind =, text = } with its text as written, and for arrays the
-- elements, for objects { name =, first =, value = } in order; `first` and `last` are
-- where a value stands in the text.

local reference = {}

reference.MAX_DEPTH = 128

local UTF8 = {
  "^[%z\1-\127]+",
  "^[\194-\223][\128-\191]",
  "^\224[\160-\191][\128-\191]",
  "^[\225-\236\238\239][\128-\191][\128-\191]",
  "^\237[\128-\159][\128-\191]",
  "^\240[\144-\191][\128-\191][\128-\191]",
  "^[\241-\243][\128-\191][\128-\191][\128-\191]",
  "^\244[\128-\143][\128-\191][\128-\191]",
}

--- Whether text is UTF-8, without overlong forms and surrogates.
---@param text string
---@return boolean
function reference.is_utf8(text)
  local at = 1
  while at <= #text do
    local last
    for _, pattern in ipairs(UTF8) do
      last = last or select(2, text:find(pattern, at))
    end
    if not last then return false end
    at = last + 1
  end
  return true
end

local parse_value

local function skip_space(text, at)
  return select(2, text:find("^[ \t\r\n]*", at)) + 1
end

-- The place behind the closing quote, or nil.
local function string_end(text, at)
  if text:sub(at, at) ~= '"' then return nil end
  at = at + 1
  while true do
    at = select(2, text:find('^[^"\\%z\1-\31]*', at)) + 1
    local c = text:sub(at, at)
    if c == '"' then return at + 1 end
    if c ~= "\\" then return nil end
    local last = select(2, text:find('^\\["\\/bfnrt]', at))
      or select(2, text:find("^\\u%x%x%x%x", at))
    if not last then return nil end
    at = last + 1
  end
end

local function number_end(text, at)
  local last = select(2, text:find("^%-?0", at)) or select(2, text:find("^%-?[1-9]%d*", at))
  if not last then return nil end
  local c = text:sub(last + 1, last + 1)
  if c == "." then
    last = select(2, text:find("^%.%d+", last + 1))
    if not last then return nil end
    c = text:sub(last + 1, last + 1)
  end
  if c == "e" or c == "E" then
    last = select(2, text:find("^[eE][+-]?%d+", last + 1))
  end
  return last and last + 1
end

local function parse_object(text, at, depth)
  local value = { kind = "object" }
  at = skip_space(text, at + 1)
  if text:sub(at, at) == "}" then return value, at + 1 end
  while true do
    local stop = string_end(text, at)
    if not stop then return nil end
    local member = { name = text:sub(at + 1, stop - 2), first = at }
    at = skip_space(text, stop)
    if text:sub(at, at) ~= ":" then return nil end
    member.value, at = parse_value(text, skip_space(text, at + 1), depth)
    if not member.value then return nil end
    value[#value + 1] = member
    at = skip_space(text, at)
    local c = text:sub(at, at)
    if c == "}" then return value, at + 1 end
    if c ~= "," then return nil end
    at = skip_space(text, at + 1)
  end
end

local function parse_array(text, at, depth)
  local value = { kind = "array" }
  at = skip_space(text, at + 1)
  if text:sub(at, at) == "]" then return value, at + 1 end
  while true do
    local element
    element, at = parse_value(text, skip_space(text, at), depth)
    if not element then return nil end
    value[#value + 1] = element
    at = skip_space(text, at)
    local c = text:sub(at, at)
    if c == "]" then return value, at + 1 end
    if c ~= "," then return nil end
    at = at + 1
  end
end

function parse_value(text, at, depth)
  local c = text:sub(at, at)
  local value, stop
  if c == "{" or c == "[" then
    if depth == reference.MAX_DEPTH then return nil end
    value, stop = (c == "{" and parse_object or parse_array)(text, at, depth + 1)
  elseif c == '"' then
    value, stop = { kind = "string" }, string_end(text, at)
  else
    for _, word in ipairs { "null", "true", "false" } do
      if text:sub(at, at + #word - 1) == word then
        value, stop = { kind = word }, at + #word
      end
    end
    if not value then
      value, stop = { kind = "number" }, number_end(text, at)
    end
  end
  if not value or not stop then return nil end
  value.first, value.last, value.text = at, stop - 1, text:sub(at, stop - 1)
  return value, stop
end

--- The document's value, or nil if text is not strict JSON.
---@param text string
---@return table?
function reference.parse(text)
  if not reference.is_utf8(text) then return nil end
  local value, at = parse_value(text, skip_space(text, 1), 0)
  if value and skip_space(text, at) == #text + 1 then return value end
  return nil
end

local SHORT = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

--- The bytes of a code point; a surrogate's are not UTF-8.
---@param code integer
---@return string
function reference.utf8(code)
  local char, floor = string.char, math.floor
  if code < 0x80 then return char(code) end
  local tail = char(0x80 + code % 0x40)
  code = floor(code / 0x40)
  if code < 0x20 then return char(0xc0 + code) .. tail end
  tail = char(0x80 + code % 0x40) .. tail
  code = floor(code / 0x40)
  if code < 0x10 then return char(0xe0 + code) .. tail end
  return char(0xf0 + floor(code / 0x40), 0x80 + code % 0x40) .. tail
end

--- What a string's inside stands for.
---@param inside string
---@return string
function reference.decode(inside)
  local out, at = {}, 1
  while at <= #inside do
    local high, low = inside:match("^\\u([dD][89abAB]%x%x)\\u([dD][c-fC-F]%x%x)", at)
    local unit = inside:match("^\\u(%x%x%x%x)", at)
    if high then
      local code = 0x10000 + (tonumber(high, 16) - 0xd800) * 0x400 + tonumber(low, 16) - 0xdc00
      out[#out + 1], at = reference.utf8(code), at + 12
    elseif unit then
      out[#out + 1], at = reference.utf8(tonumber(unit, 16)), at + 6
    elseif inside:sub(at, at) == "\\" then
      local c = inside:sub(at + 1, at + 1)
      out[#out + 1], at = SHORT[c] or c, at + 2
    else
      out[#out + 1], at = inside:sub(at, at), at + 1
    end
  end
  return table.concat(out)
end

--- One text for all spellings of a value; numbers keep theirs, members their order.
---@param value table
---@return string
function reference.canon(value)
  if value.kind == "string" then
    return ("%q"):format(reference.decode(value.text:sub(2, -2)))
  elseif value.kind ~= "array" and value.kind ~= "object" then
    return value.text
  end
  local parts = {}
  for i, item in ipairs(value) do
    parts[i] = item.name and ("%q:%s"):format(reference.decode(item.name),
      reference.canon(item.value)) or reference.canon(item)
  end
  return (value.kind == "array" and "[%s]" or "{%s}"):format(table.concat(parts, ","))
end

return reference
