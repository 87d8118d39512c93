-- `weir check`: what it prints of a good file, and every error of a bad one.

local gateway = require("spec.support.gateway")
local process = require("spec.support.process")

--- Runs `weir check` on these files; gives status, stdout, stderr.
local function check(files, env)
  local folder = gateway.folder(files)
  local child = process.start(gateway.command("check", folder .. "/weir.lua"), env)
  local status = child:wait(20)
  gateway.remove_folder(folder)
  return status, child.text.out, child.text.err
end

local good = [[
local weir = require "weir"
local waterfall = require "policies.waterfall"
local ours = require "ours"
return {
  keys = { weir.env "WEIR_KEY" },
  providers = {
    groq   = { type = "groq", key = weir.env "GROQ_API_KEY" },
    laptop = { type = "openai", base_url = "http://127.0.0.1:11434/v1" },
  },
  models = {
    default = waterfall { "groq/llama-3.3-70b-versatile", "laptop/llama3.2" },
    mine = ours,
    ["*"] = waterfall { "groq/*" },
  },
}
]]
local ours = 'return function(req) return req:send("laptop/llama3.2") end'
local env = { WEIR_KEY = "wk-one", GROQ_API_KEY = "gsk-two" }

--- Each bad file, and what its error has to name.
local bad = {
  ["a syntax error"] = { "return {\n  listen = ,\n}", "weir.lua:2" },
  ["a runtime error"] = { "local x\nreturn x.y", "weir.lua:2" },
  ["nothing returned"] = { "local x = 1", "table" },
  ["an unknown member"] = { good:gsub("models =", "modles ="), "modles", "models" },
  ["an unknown member of a provider"] = { good:gsub("base_url", "base_ulr"),
    "providers.laptop.base_ulr", "base_url" },
  ["an unknown type of provider"] = { good:gsub('type = "groq"', 'type = "grok"'),
    "providers.groq.type", "groq" },
  ["a wrong type"] = { good:gsub("providers = {", 'workers = "two",\n  providers = {', 1),
    "workers", "number" },
  ["an unknown time zone"] = { good:gsub("providers = {",
    'ledger = { timezone = "europe/berlin" },\n  providers = {', 1),
    "weir.lua: ledger.timezone: must be the name of a time zone in /",
    "did you mean: Europe/Berlin" },
  ["a time zone where there are none"] = { good:gsub("providers = {",
    'ledger = { timezone = "Europe/Berlin" },\n  providers = {', 1),
    "ledger.timezone: there are no time zones in /nowhere: install tzdata",
    env = { WEIR_KEY = "wk-one", GROQ_API_KEY = "gsk-two", TZDIR = "/nowhere" } },
  ["a target that names no provider"] = { good:gsub("laptop/llama3.2", "latpop/llama3.2"),
    "latpop", "laptop" },
  ["a model that is no policy"] = { good:gsub("mine = ours", "mine = 7"), "models.mine" },
  ["a bad base URL"] = { good:gsub("http://127.0.0.1:11434/v1", "ftp://x"), "base_url" },
  ["a key in plain text"] = { good:gsub('weir.env "GROQ_API_KEY"', '"gsk-plain"'),
    "providers.groq.key", "weir.env" },
  ["a module that is not there"] = { good:gsub('require "ours"', 'require "theirs"'), "theirs" },
  ["a module that it may not have"] = { good:gsub('require "ours"', 'require "os"'), "os" },
  ["an environment variable that is not set"] = { good, "GROQ_API_KEY",
    env = { WEIR_KEY = "wk-one", GROQ_API_KEY = false } },
}

describe("weir check", function()
  it("prints providers, models and policies of a good file", function()
    local status, out, err = check({ ["weir.lua"] = good, ["ours.lua"] = ours }, env)
    assert.equal(0, status, err)
    for _, name in ipairs { "groq", "laptop", "default", "mine", "*" } do
      assert.is_truthy(out:find(name, 1, true), name)
    end
  end)

  it("prints who is let in", function()
    local function keys_of(member)
      local text = good:gsub("keys = {[^\n]*", function() return member end)
      local _, out, err = check({ ["weir.lua"] = text, ["ours.lua"] = ours }, env)
      return out:match("\nkeys +([^\n]*)\n"), err
    end
    assert.equal('weir.env "WEIR_KEY"', (keys_of('keys = { weir.env "WEIR_KEY" },')))
    assert.equal("none: whoever reaches it is let in", (keys_of("")))
    assert.equal("the ledger's, days of budgets begin in UTC", (keys_of('keys = "ledger",')))
  end)

  it("prints no secret", function()
    local _, out, err = check({ ["weir.lua"] = good, ["ours.lua"] = ours }, env)
    assert.is_nil((out .. err):find("gsk-two", 1, true))
    assert.is_nil((out .. err):find("wk-one", 1, true))
  end)

  for name, case in pairs(bad) do
    it("names " .. name, function()
      local status, out, err = check({ ["weir.lua"] = case[1], ["ours.lua"] = ours },
        case.env or env)
      assert.equal(3, status)
      for i = 2, #case do
        local text = case[i]
        if type(text) == "string" then
          assert.is_truthy((out .. err):find(text, 1, true), out .. err)
        end
      end
    end)
  end

  it("prints every error, not only the first", function()
    local text = good:gsub("base_url", "base_ulr"):gsub('type = "groq"', 'type = "grok"')
    local _, out, err = check({ ["weir.lua"] = text, ["ours.lua"] = ours }, env)
    assert.is_truthy((out .. err):find("providers.laptop.base_ulr", 1, true))
    assert.is_truthy((out .. err):find("providers.groq.type", 1, true))
  end)
end)
