--- dimension.lua -- which limit a 429 is about, from what its message says.
local quota = require("weir.quota")
local dimension = {}

--- The beginnings of a window's name, and their letter.
local WINDOWS = { sec = "s", min = "m", hou = "h", day = "d", mon = "month" }

--- What is counted, as messages name it, and its letters. The first that is found counts.
local UNITS = {
  { "input%s*tokens", "itp" },
  { "output%s*tokens", "otp" },
  { "tokens?", "tp" },
  { "requests?", "rp" },
  { "", "rp" }, -- "free-models-per-day"
}

--- The dimension that a text names: "tokens per minute (TPM)", "free-models-per-day".
---@param text string|nil
---@return weir.Dimension|nil
function dimension.named(text)
  text = text and text:lower()
  if not text or not text:find("per", 1, true) then return nil end
  for _, unit in ipairs(UNITS) do
    local window = text:match(unit[1] .. "[%s_-]*per[%s_-]*(%a%a%a)")
    local name = window and WINDOWS[window] and unit[2] .. WINDOWS[window]
    if name and quota.WINDOWS[name] then return name end
  end
end

--- The quota that keeps a target spent for longest, or nil where none is known to be spent.
---@param quotas weir.Quota[]
---@return weir.Quota|nil
function dimension.spent(quotas)
  local longest
  for _, item in ipairs(quotas) do
    local is_spent = item.remaining == 0
    if is_spent and (not longest or (item.reset or 0) > (longest.reset or 0)) then
      longest = item
    end
  end
  return longest
end

return dimension
