--- clerk_store.lua -- what is stored of a request's texts, for JSON and for people.
local when = require("weir.clerk_when")

local store = {}

--- A terminal obeys control characters, of which a prompt may have any: they are shown as "?".
local function plain(text)
  return (text:gsub("[%z\1-\8\11-\31\127]", "?"):gsub("\194[\128-\159]", "?"))
end

local function heading(side, part)
  local choice = part.choice > 0 and (" of choice %d"):format(part.choice) or ""
  local cut = part.cut and (", cut: it had %d bytes"):format(part.bytes) or ""
  return ("%s, %s%s%s:\n"):format(side, part.kind, choice, cut)
end

---@param texts table as store.of gives
---@return string
function store.lines(texts)
  local lines = { ("%-11s %s\n"):format("id", texts.id), ("%-11s %s\n"):format("key", texts.key) }
  for _, side in ipairs { "request", "answer" } do
    for _, part in ipairs(texts[side] and texts[side].parts or {}) do
      lines[#lines + 1] = "\n" .. heading(side, part) .. plain(part.text):gsub("\n*$", "\n")
    end
  end
  return table.concat(lines)
end

--- The parts that host.texts gives, by side; nil: there are none.
---@param host table what lua_clerk.c gives
---@param id string
---@return table|nil
function store.of(host, id)
  local texts
  for _, part in ipairs(host.texts(id)) do
    texts = texts or { id = id, account = part.account }
    local side = texts[part.side]
    if not side then
      side = { time = when.stamp(host, part.time), ends = when.stamp(host, part.ends),
        parts = host.array {} }
      texts[part.side] = side
    end
    side.parts[#side.parts + 1] = { kind = part.kind, choice = part.choice, bytes = part.bytes,
      cut = part.bytes > #part.text, text = part.text }
  end
  return texts
end

return store
