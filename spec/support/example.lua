--- Set-ups of examples/ as they stand, but on a free port, in front of mocks, with one worker.

local gateway = require("spec.support.gateway")
local ledger = require("spec.support.ledger")
local lfs = require("lfs")
local libc = require("spec.support.libc")
local process = require("spec.support.process")
local read_file = require("spec.support.read_file")

local Served = {}
Served.__index = Served

local example = {}

--- What the examples take from the environment; the mocks do not mind.
example.KEYS = {
  CEREBRAS_API_KEY = "csk-of-an-example", GEMINI_API_KEY = "AIza-of-an-example",
  GROQ_API_KEY = "gsk_of_an_example", OPENAI_API_KEY = "sk-of-an-example",
  OPENROUTER_API_KEY = "sk-or-of-an-example", WEIR_KEY_ANN = "wk-ann", WEIR_KEY_BOB = "wk-bob",
}

--- Who is let in where keys are a list.
example.ANN = { Authorization = "Bearer wk-ann" }

--- The files below a folder, as paths within it.
function example.files_below(folder, prefix, list)
  list, prefix = list or {}, prefix or ""
  for name in lfs.dir(folder) do
    local path = folder .. "/" .. name
    if lfs.attributes(path, "mode") == "file" then
      list[#list + 1] = prefix .. name
    elseif not name:find("^%.") then
      example.files_below(path, prefix .. name .. "/", list)
    end
  end
  table.sort(list)
  return list
end

--- The providers that a weir.lua writes down, each with url(name) as its base URL.
local function at_mocks(text, url)
  return (text:gsub("(providers = )(%b{})", function(head, block)
    return head .. "{" .. block:sub(2):gsub("([%w_]+ *= *)(%b{})", function(name, provider)
      provider = provider:sub(2):gsub('%s*base_url = "[^"]*",?', "")
      return ("%s{ base_url = %q,%s"):format(name, url(name:match("[%w_]+")), provider)
    end)
  end))
end

local function copy(name, url)
  local files = {}
  for _, path in ipairs(example.files_below("examples/" .. name)) do
    local text = read_file("examples/" .. name .. "/" .. path)
    if path == "weir.lua" then
      text = at_mocks(text:gsub('\n  listen = "[^\n]*', ""), url)
      text = text:gsub("\nreturn {", '%0\n  listen = "127.0.0.1:0", workers = 1,', 1)
    end
    files[path] = text
  end
  return gateway.folder(files)
end

--- Starts a copy of an example; url(name) gives the base URL of a provider's mock. headers are
--- those of somebody who is let in: with a key that is made for it where keys are a ledger's.
---@param name string
---@param url fun(name: string): string
---@param env table|nil
function example.serve(name, url, env)
  local folder = copy(name, url)
  local child = process.start(gateway.command("serve", folder .. "/weir.lua"), env or example.KEYS)
  local self = setmetatable({ child = child, folder = folder, headers = example.ANN }, Served)
  self.port = child:wait_for("err", function(text)
    return tonumber(text:match("listening[^\n]-127%.0%.0%.1:(%d+)"))
  end, "the example to listen", 20)
  if read_file(folder .. "/weir.lua"):find('keys = "ledger"', 1, true) then
    self.headers = ledger.key(self, "spec")
  end
  return self
end

--- Ends it with SIGTERM; gives its exit code.
function Served:stop()
  self.child:signal(libc.SIGTERM)
  return (self.child:wait())
end

--- Clears up, whatever state it is in.
function Served:discard()
  self.child:kill()
  gateway.remove_folder(self.folder)
end

return example
