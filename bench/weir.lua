-- what the benchmarks measure: one worker, a Lua waterfall, one provider.
local waterfall = require("policies.waterfall")

local ask = waterfall { "mock/*" }

-- The same, changing the text of each event, for the row "chunk through a filter".
local function filtered(req)
  local res, err = ask(req)
  return res and res:map(function(event)
    if event.kind == "content" then event.text = event.text:upper() end
    return event
  end), err
end

return {
  listen = "127.0.0.1:4901",
  workers = 1,
  log = { level = "warn" },
  limits = { connections = 20000, in_flight = 20000 },
  providers = {
    mock = {
      type = "openai",
      base_url = "http://127.0.0.1:4900/v1",
      timeout = { first = 600, idle = 600 },
    },
  },
  models = {
    bench = waterfall { "mock/bench" },
    filtered = filtered,
    ["*"] = ask,
  },
}
