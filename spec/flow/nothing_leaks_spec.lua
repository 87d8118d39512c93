-- Promise 12: no provider key to a client, no client credential to a provider, no prompt and
-- no key in a log.

local openai = require("spec.support.openai")
local world = require("spec.support.world")

local CLIENT_KEY = "wk-client-0123456789abcdef"
local KEYS = { first = "sk-first-0123456789abcdef", second = "sk-second-0123456789abcdef" }

local private = {
  ["Authorization"] = "Bearer " .. CLIENT_KEY,
  ["Cookie"] = "session=cookie-secret",
  ["X-Api-Key"] = "x-api-key-secret",
  ["Api-Key"] = "api-key-secret",
  ["OpenAI-Organization"] = "org-secret",
  ["Proxy-Authorization"] = "Basic proxy-secret",
  ["X-Forwarded-For"] = "203.0.113.9",
  ["Forwarded"] = "for=203.0.113.9",
  ["X-Custom"] = "custom-secret",
}

describe("what is private", function()
  local w, first, second, gateway

  before_each(function()
    w = world.new()
    first, second = w:upstream("first"), w:upstream("second")
    gateway = w:gateway {
      provider = {
        first = 'key = weir.env "FIRST_KEY"',
        second = 'key = weir.env "SECOND_KEY"',
      },
      more = '  workers = 1, keys = { weir.env "CLIENT_KEY" },',
      env = { FIRST_KEY = KEYS.first, SECOND_KEY = KEYS.second, CLIENT_KEY = CLIENT_KEY },
    }
  end)

  after_each(function()
    w:close()
  end)

  local function ask(stream)
    local body = openai.request(stream):gsub('"hi"', '"my secret prompt"')
    return gateway:chat { body = body, headers = private }
  end

  it("of a client reaches no provider", function()
    local client = ask()
    local _, request = first:answer(500, openai.failure("broken"))
    local _, again = second:answer(200, openai.answer())
    client:read_response()
    for _, raw in ipairs { request.raw, again.raw } do
      assert.is_nil(raw:find("secret", 1, true))
      assert.is_nil(raw:find(CLIENT_KEY, 1, true))
      assert.is_nil(raw:find("203.0.113.9", 1, true))
    end
  end)

  it("of one provider reaches no other", function()
    local client = ask()
    local _, request = first:answer(500, openai.failure("broken"))
    local _, again = second:answer(200, openai.answer())
    client:read_response()
    assert.equal("Bearer " .. KEYS.first, request.headers.authorization)
    assert.equal("Bearer " .. KEYS.second, again.headers.authorization)
    assert.is_nil(again.raw:find(KEYS.first, 1, true))
  end)

  it("of a provider reaches no client in headers", function()
    local client = ask()
    first:answer(200, openai.answer(), {
      ["Set-Cookie"] = "provider-cookie=1",
      ["Server"] = "provider-server",
      ["OpenAI-Organization"] = "provider-org",
      ["X-RateLimit-Remaining-Project-Tokens"] = "17", -- OpenAI's two: ratelimit_headers
      ["Alt-Svc"] = 'h3=":443"',
    })
    local response = client:read_response()
    for _, name in ipairs { "set-cookie", "server", "openai-organization", "alt-svc",
      "x-ratelimit-remaining-project-tokens" } do
      assert.is_nil(response.headers[name], name)
    end
  end)

  it("of a provider reaches no client in an error that quotes the key", function()
    local client = ask()
    local quoting = openai.failure("Incorrect API key provided: " .. KEYS.first)
    first:answer(401, quoting)
    second:answer(400, openai.failure("your key " .. KEYS.second .. " is fine, the request not"))
    local response = client:read_response()
    assert.equal(400, response.status)
    assert.is_nil(response.body:find(KEYS.first, 1, true))
    assert.is_nil(response.body:find(KEYS.second, 1, true))
  end)

  it("of a provider reaches no client in an error event of a stream", function()
    local client = ask(true)
    local provider = first:stream(openai.content("a"))
    client:read_head()
    provider:send_chunk("data: " .. openai.failure("bad key " .. KEYS.first) .. "\n\n")
    assert.is_nil((client:read_all()):find(KEYS.first, 1, true))
  end)

  it("is in no log line", function()
    local gone = ask()
    first:take()
    gone:close()
    gateway:wait_log("event=request", "status=499")
    local client = ask(true)
    local provider = first:take()
    provider:respond(401, openai.failure("Incorrect API key provided: " .. KEYS.first))
    second:stream(openai.content("secret answer"), openai.finish, openai.done):finish_stream()
    client:read_response()
    gateway:wait_log("event=request", "status=200")
    local log = gateway:stop()
    for _, secret in ipairs { "secret", CLIENT_KEY, KEYS.first, KEYS.second } do
      assert.is_nil(log:find(secret, 1, true), secret)
    end
  end)

  it("is in no process's environment, where a reload still finds it", function()
    if os.getenv("WEIR_UNDER") then return pending("the environment is another program's") end
    gateway:stop()
    local options = { more = '  workers = 1, keys = "ledger",', provider = {
      first = 'key = weir.env "FIRST_KEY"', second = 'key = weir.env "FIRST_KEY"' } }
    local env = { FIRST_KEY = KEYS.first, SECOND_KEY = KEYS.second, EMPTY = "" }
    local other = w:gateway { config = w:config(options), env = env }
    local pids = other:workers() -- the worker and the ledger's process
    assert.equal(2, #pids)
    pids[3] = other.process.pid
    for _, pid in ipairs(pids) do
      local file, why = io.open("/proc/" .. pid .. "/environ", "rb")
      if not file then return pending(why) end
      assert.matches("^%z*$", file:read("*a"))
      file:close()
    end

    options.provider.second = 'key = weir.env "SECOND_KEY"'
    options.more = '  workers = 1,'
    other:write("weir.lua", w:config(options))
    other:wait_log("event=reloaded", "generation=2 ")
    local client = other:chat()
    first:answer(500, openai.failure("broken"))
    local _, request = second:answer(200, openai.answer())
    client:read_response()
    assert.equal("Bearer " .. KEYS.second, request.headers.authorization)
  end)

  it("is not shown by a policy that prints a secret", function()
    gateway:stop()
    local other = w:gateway {
      before = 'local key = weir.env "FIRST_KEY"',
      env = { FIRST_KEY = KEYS.first },
      models = [[
        default = function(req)
          return req:reply(200, { shown = tostring(key), length = #tostring(key) })
        end,]],
    }
    local response = other:chat():read_response()
    assert.equal(200, response.status)
    assert.is_nil(response.body:find(KEYS.first, 1, true))
  end)
end)
