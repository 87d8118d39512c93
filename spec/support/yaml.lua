--- The YAML that docs/openapi.yaml keeps to: block mappings and lists, flow lists of words, plain
--- and double-quoted scalars on one line.  Anything else is an error with its line.

local yaml = {}

local function scalar(text, number)
  if text == "true" or text == "false" then return text == "true" end
  if text == "{}" or text == "[]" then return {} end
  local quoted = text:match('^"(.*)"$')
  if quoted then return quoted end
  local flow = text:match("^%[(.*)%]$")
  if flow then
    local list = {}
    for word in flow:gmatch("[^,%s]+") do list[#list + 1] = scalar(word, number) end
    return list
  end
  assert(not text:find("^[%[{&*!|>%%@`'\"]"),
    ("line %d: not in this subset: %s"):format(number, text))
  return text
end

local function lines_of(text)
  local lines, number = {}, 0
  for line in text:gmatch("([^\n]*)\n") do
    number = number + 1
    if line:find("%S") and not line:find("^%s*#") then
      lines[#lines + 1] = { indent = #line:match("^ *"), text = line:match("^ *(.-)%s*$"),
        number = number }
    end
  end
  return lines
end

local read_block

--- The value after a name or a dash: on the line itself, or a block below it.
local function value_of(lines, at, rest, indent)
  if rest ~= "" then return scalar(rest, lines[at].number), at + 1 end
  assert(lines[at + 1] and lines[at + 1].indent > indent,
    ("line %d: has no value"):format(lines[at].number))
  return read_block(lines, at + 1, lines[at + 1].indent)
end

local function read_entry(lines, at, indent)
  local line = lines[at]
  local name, rest = line.text:match('^"([^"]*)":%s*(.*)$')
  if not name then name, rest = line.text:match("^(.-):%s+(.*)$") end
  if not name then name, rest = line.text:match("^(.-):$"), "" end
  assert(name, ("line %d: no name"):format(line.number))
  local value, following = value_of(lines, at, rest, indent)
  return name, value, following
end

function read_block(lines, at, indent)
  local block = {}
  while lines[at] and lines[at].indent == indent do
    local line = lines[at]
    local item = line.text:match("^%- (.*)$")
    if item and (item:find("^[%w$]+: ") or item:find("^[%w$]+:$")) then
      -- a mapping that begins behind the dash
      lines[at] = { indent = indent + 2, text = item, number = line.number }
      block[#block + 1], at = read_block(lines, at, indent + 2)
    elseif item then
      block[#block + 1], at = value_of(lines, at, item, indent)
    else
      local name, value, following = read_entry(lines, at, indent)
      assert(block[name] == nil, ("line %d: %s comes twice"):format(line.number, name))
      block[name], at = value, following
    end
  end
  assert(not lines[at] or lines[at].indent < indent,
    lines[at] and ("line %d: is indented wrongly"):format(lines[at].number))
  return block, at
end

--- The document as tables; names and scalars are strings, but for true and false.
---@param text string
---@return table
function yaml.read(text)
  local lines = lines_of(text)
  return (read_block(lines, 1, 0))
end

return yaml
