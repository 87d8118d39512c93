-- weir.fetch over real connections: whom it may ask, what it is sent, and what it costs nobody.

local openai = require("spec.support.openai")
local upstream = require("spec.support.upstream")
local world = require("spec.support.world")

describe("weir.fetch", function()
  local w, first, hook

  before_each(function()
    w = world.new()
    first = w:upstream("first")
    hook = upstream.new()
  end)

  after_each(function()
    hook:close()
    w:close()
  end)

  --- A gateway whose only policy fetches what code says, and replies with what it gives.
  local function start(allowed, code, more)
    return w:gateway {
      env = { TOKEN = "hook-token" },
      before = 'local token = weir.env "TOKEN"',
      more = ('  workers = 1, policy = { fetch = { %s } }, %s'):format(allowed, more or ""),
      models = ([[
        default = function(req)
          local res, err = weir.fetch(%s)
          if not res then return req:reply(200, { code = err.code, message = err.message }) end
          return req:reply(200, { status = res.status, body = res.body })
        end,
        plain = waterfall { "first/m" },]]):format(code),
    }
  end

  local function here()
    return ("http://127.0.0.1:%d"):format(hook.port)
  end

  it("asks with a secret that the policy never sees, twice over one connection", function()
    local base = here()
    local gateway = start(('{ %q, private = true }'):format(base),
      ('{ url = %q, bearer = token, body = { a = 1 } }'):format(base .. "/x?y=1"))
    local client = gateway:chat()
    local connection = hook:accept()
    for _ = 1, 2 do
      local asked = connection:read_request()
      assert.same({ "POST", "/x?y=1", '{"a":1}' }, { asked.method, asked.path, asked.body })
      assert.equal("Bearer hook-token", asked.headers.authorization)
      connection:respond(200, "fine", { ["Content-Type"] = "text/plain" })
      assert.same({ status = 200, body = "fine" }, client:read_response().json)
      client = gateway:chat()
    end
    connection:read_request()
    connection:respond(200, "")
    client:read_response()
    assert.is_nil(gateway:log():find("hook-token", 1, true))
  end)

  it("connects to no address of a private network, whatever the name says", function()
    for _, name in ipairs { "127.0.0.1", "localhost", "[::1]" } do
      local base = ("http://%s:%d"):format(name, hook.port)
      local gateway = start(("%q"):format(base), ("%q"):format(base))
      local said = gateway:chat():read_response().json
      assert.equal("refused", said.code)
      assert.truthy(said.message:find("private network", 1, true))
    end
    assert.is_false(hook:is_asked())
  end)

  it("raises for a server that is not allowed, and asks nobody", function()
    local gateway = start("", ("%q"):format(here()))
    local response = gateway:chat():read_response()
    assert.equal(500, response.status)
    gateway:wait_log("is not among policy.fetch")
    assert.is_false(hook:is_asked())
  end)

  it("follows no redirect", function()
    local gateway = start(('{ %q, private = true }'):format(here()), ("%q"):format(here()))
    local client = gateway:chat()
    hook:answer(302, "", { Location = here() .. "/elsewhere" })
    assert.same({ status = 302, body = "" }, client:read_response().json)
    assert.is_false(hook:is_asked())
  end)

  it("holds up nobody while it waits, and ends with its client", function()
    local gateway = start(('{ %q, private = true }'):format(here()), ("%q"):format(here()))
    local client = gateway:chat()
    local connection = hook:take()
    local other = gateway:chat { model = "plain" }
    first:answer(200, openai.answer())
    assert.equal(200, other:read_response().status)
    client:close()
    assert.truthy(connection:wait_closed())
    gateway:wait_log("event=request", "status=499")
  end)

  for code, member in pairs { timeout = "timeout = 1", too_large = "max = 10" } do
    it("closes the connection at once after " .. code .. ", though the policy goes on", function()
      local base = here()
      local gateway = w:gateway {
        more = ("  workers = 1, policy = { fetch = { { %q, private = true } } },"):format(base),
        models = ([[
          default = function(req)
            local _, err = weir.fetch { url = %q, %s }
            return err.code == %q and req:send("first/m") or req:reply(500, err.code)
          end,]]):format(base, member, code),
      }
      local client = gateway:chat()
      local connection = hook:take()
      connection:send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" .. ("x"):rep(20))
      local provider = first:take()
      assert.truthy(connection:wait_closed())
      provider:respond(200, openai.answer())
      assert.equal(200, client:read_response().status)
    end)
  end
end)
