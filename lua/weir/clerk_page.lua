--- clerk_page.lua -- pages of long lists: how many rows one has, and what is said of it.
local refuse = require("weir.clerk_refuse")
local page = {}

local MOST = 1000 -- rows: a page is made in one go

--- A whole number between the two, which a query has as text.
---@param query table
---@param name string
---@param least number
---@param most number
---@return number
function page.count(query, name, least, most)
  local number = query[name]:match("^%d+$") and tonumber(query[name])
  if not number or number < least or number > most then
    refuse(400, ("%s: must be a whole number from %d to %d"):format(name, least, most))
  end
  return number
end

--- How many rows were asked for.
---@param query table
---@param default number where it does not say
---@return number
function page.limit(query, default)
  return query.limit and page.count(query, "limit", 1, MOST) or default
end

return page
