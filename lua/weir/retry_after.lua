--- retry_after.lua -- how long a provider asks us to wait, from its headers.
---
--- What cannot be read is unknown (nil), never 0.
local moment = require("weir.moment")
local retry_after = {}

--- Seconds: a longer wait is tried again after a day, and no timer overflows.
retry_after.MAX = 86400

--- Seconds to wait, or nil when the headers name no time to come.
---@param headers table<string, string> names in lower case
---@param now number|nil wall seconds, for dates
---@return number|nil
function retry_after.read(headers, now)
  local ms = moment.decimal(headers["retry-after-ms"]) -- Azure, OpenAI: the finer one is meant
  local wait = ms and ms / 1000 or moment.wait(headers["retry-after"], now)
  return wait and math.min(wait, retry_after.MAX)
end

return retry_after
