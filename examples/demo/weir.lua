-- What `make run` serves: three providers of `weir mock`, which need no key.  The first is often
-- rate limited, the second fails now and then, the third always answers.
local weir = require("weir")
local redact = require("policies.redact")
local waterfall = require("policies.waterfall")

local providers = {
  first  = { type = "openai", base_url = "http://127.0.0.1:4101/v1" },
  second = { type = "openai", base_url = "http://127.0.0.1:4102/v1" },
  third  = { type = "openai", base_url = "http://127.0.0.1:4103/v1" },
}
local targets = {}

--- A real provider comes before the mocks when its key is in the environment.
local function add(name, model)
  local key = weir.env(name:upper() .. "_API_KEY")
  if not key.is_set then return end
  providers[name] = { type = name, key = key }
  targets[#targets + 1] = name .. "/" .. model
end

add("groq", "llama-3.3-70b-versatile")
add("cerebras", "llama-3.3-70b")
add("openrouter", "meta-llama/llama-3.3-70b-instruct:free")
add("openai", "gpt-4o-mini")
for _, name in ipairs { "first", "second", "third" } do
  targets[#targets + 1] = name .. "/demo"
end

return {
  listen = "127.0.0.1:4000",
  providers = providers,
  models = {
    default = waterfall(targets),
    private = redact(waterfall(targets)), -- e-mail addresses and keys stay here
    ["*"] = waterfall(targets),           -- whatever name a client is set to
  },
}
