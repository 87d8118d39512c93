-- Every way in which a provider fails, for plain and streamed requests, on a fresh connection
-- and on one that was used before: the next target serves, and the provider saw one POST.
-- (faults.md's matrix before the commit point.)

local openai = require("spec.support.openai")
local world = require("spec.support.world")

local function close_after(bytes)
  return function(connection)
    connection:send(bytes)
    connection:close()
  end
end

local function answer(status, body, headers)
  return function(connection)
    connection:respond(status, body, headers)
  end
end

local html = { ["Content-Type"] = "text/html" }
local plain_head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

--- What the first provider does once it has read the request.
local faults = {
  ["FIN before the head"] = function(connection) connection:close() end,
  ["RST before the head"] = function(connection) connection:reset() end,
  ["FIN inside the head"] = close_after("HTTP/1.1 200 OK\r\nContent-Type: appl"),
  ["FIN after the status line"] = close_after("HTTP/1.1 200 OK\r\n"),
  ["FIN after the head"] = close_after(plain_head .. "Content-Length: 100\r\n\r\n"),
  ["RST after the head"] = function(connection)
    connection:send(plain_head .. "Content-Length: 100\r\n\r\n")
    connection:reset()
  end,
  ["a body shorter than its length"] = close_after(plain_head
    .. 'Content-Length: 100\r\n\r\n{"choices":['),
  ["a cut chunk"] = close_after(plain_head .. "Transfer-Encoding: chunked\r\n\r\nff\r\n{"),
  ["an end between chunks"] = close_after(plain_head
    .. 'Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n'),
  ["a body up to the close that is no whole JSON"] = close_after(plain_head
    .. 'Connection: close\r\n\r\n{"choices":['),
  ["a broken chunk size"] = function(connection)
    connection:send(plain_head .. "Transfer-Encoding: chunked\r\n\r\nzz\r\n")
  end,
  ["a huge chunk size"] = function(connection)
    connection:send(plain_head .. "Transfer-Encoding: chunked\r\n\r\n"
      .. ("f"):rep(20) .. "\r\n")
  end,
  ["a status line of rubbish"] = function(connection)
    connection:send("this is no HTTP\r\n\r\n")
    connection:close()
  end,
  ["a negative length"] = function(connection)
    connection:send(plain_head .. "Content-Length: -5\r\n\r\n")
  end,
  ["NUL in a header"] = function(connection)
    connection:send(plain_head .. "X-A: b\0c\r\nContent-Length: 2\r\n\r\n{}")
  end,
  ["a header of 400 KB"] = function(connection)
    connection:send(plain_head .. "X-A: " .. ("x"):rep(400 * 1024) .. "\r\n\r\n")
  end,
  ["a flood of 1xx"] = function(connection)
    connection:send(("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"):rep(50))
  end,
  ["101"] = function(connection)
    connection:send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
  end,
  ["204"] = function(connection)
    connection:send("HTTP/1.1 204 No Content\r\n\r\n")
  end,
  ["a redirect"] = answer(302, "", { Location = "http://127.0.0.1:1/elsewhere" }),
  ["402"] = answer(402, openai.failure("pay first", "billing_error")),
  ["401"] = answer(401, openai.failure("bad key")),
  ["403"] = answer(403, openai.failure("not you")),
  ["404"] = answer(404, openai.failure("no such model")),
  ["408"] = answer(408, openai.failure("too slow")),
  ["429"] = answer(429, openai.failure("slow down"), { ["Retry-After"] = "1" }),
  ["429 without a body"] = answer(429, ""),
  ["500"] = answer(500, openai.failure("broken")),
  ["502 with a page"] = answer(502, "<html><body>Bad Gateway</body></html>", html),
  ["503"] = answer(503, openai.failure("busy")),
  ["504"] = answer(504, ""),
  ["529"] = answer(529, openai.failure("overloaded", "overloaded_error")),
  ["200 with an error in it"] = answer(200, openai.failure("rate limited", "rate_limit_error")),
  ["200 with a page"] = answer(200, "<html>sign in</html>", html),
  ["200 with nothing"] = answer(200, ""),
  ["200 with text"] = answer(200, "OK", { ["Content-Type"] = "text/plain" }),
  ["200 with cut JSON"] = answer(200, '{"id":"x","choices":[{"message":{"content":"hal'),
  ["200 with gzip that nobody asked for"] = answer(200, "\31\139\8\0\0\0\0\0", {
    ["Content-Encoding"] = "gzip" }),
}

describe("failover", function()
  local w, first, second, gateway

  before_each(function()
    w = world.new()
    first, second = w:upstream("first"), w:upstream("second")
    gateway = w:gateway()
  end)

  after_each(function()
    w:close()
  end)

  --- A connection of the first provider's that has served one request.
  local function used_connection()
    local client = gateway:chat()
    local connection = first:answer(200, openai.answer())
    client:read_response()
    return connection
  end

  local function assert_second_serves(client, stream)
    local body = stream and openai.content("b") .. openai.finish .. openai.done or openai.answer()
    if stream then
      second:stream(body):finish_stream()
    else
      second:answer(200, body)
    end
    local response = client:read_response()
    assert.equal(200, response.status)
    assert.equal(body, response.body)
    assert.equal("complete", response.ended)
    assert.equal("second/second-model", response.headers["x-weir-target"])
    assert.is_false(first:is_asked()) -- nothing was posted twice
  end

  for name, fail in pairs(faults) do
    for _, stream in ipairs { false, true } do
      for _, reused in ipairs { false, true } do
        it(("moves on after %s (%s, %s connection)"):format(name,
          stream and "streamed" or "plain", reused and "a used" or "a fresh"), function()
          local connection = reused and used_connection()
          local client = gateway:chat { stream = stream }
          connection = connection or first:accept()
          assert.equal("POST", connection:read_request().method)
          fail(connection)
          assert_second_serves(client, stream)
        end)
      end
    end
  end

  for _, stream in ipairs { false, true } do
    local kind = stream and " (streamed)" or " (plain)"

    it("moves on when the connection is refused" .. kind, function()
      first:refuse()
      assert_second_serves(gateway:chat { stream = stream }, stream)
      gateway:wait_log("event=attempt", "refused")
    end)

    it("makes a new connection when the kept one is closed already" .. kind, function()
      used_connection():close()
      local client = gateway:chat { stream = stream }
      if stream then
        first:stream(openai.content("a"), openai.finish, openai.done):finish_stream()
      else
        first:answer(200, openai.answer())
      end
      local response = client:read_response()
      assert.equal(200, response.status)
      assert.equal("1", response.headers["x-weir-attempts"])
    end)

    for _, status in ipairs { 400, 413, 422 } do
      it(("does not move on after a %d, which is the client's own%s"):format(status, kind),
        function()
          local client = gateway:chat { stream = stream }
          first:answer(status, openai.failure("bad temperature", "invalid_request_error"))
          local response = client:read_response()
          assert.equal(status, response.status)
          assert.equal("bad temperature", response.json.error.message)
          assert.is_false(second:is_asked())
        end)
    end
  end

  it("moves on when a name does not resolve", function()
    gateway:stop()
    local other = w:gateway { config = ([[
      local weir = require "weir"
      local waterfall = require "policies.waterfall"
      return {
        listen = "127.0.0.1:0", workers = 1,
        providers = {
          gone = { type = "openai", base_url = "http://name.invalid/v1" },
          second = { type = "openai", base_url = "%s" },
        },
        models = { default = waterfall { "gone/m", "second/m" } },
      }]]):format(second.url) }
    local client = other:chat()
    second:answer(200, openai.answer())
    assert.equal(200, client:read_response().status)
  end)

  it("skips a target that cools after its 429", function()
    local client = gateway:chat()
    first:answer(429, openai.failure("slow down"), { ["Retry-After"] = "60" })
    local connection = second:answer(200, openai.answer())
    client:read_response()
    client = gateway:chat()
    assert.equal("POST", connection:read_request().method)
    connection:respond(200, openai.answer())
    local response = client:read_response()
    assert.equal("1", response.headers["x-weir-attempts"])
    assert.is_false(first:is_asked())
  end)

  it("logs a line an attempt and one a request", function()
    local client = gateway:chat()
    first:answer(500, openai.failure("broken"))
    second:answer(200, openai.answer())
    local id = client:read_response().headers["x-request-id"]
    gateway:wait_log("event=attempt", "target=first/first-model", "status=500", id)
    gateway:wait_log("event=attempt", "target=second/second-model", "status=200", id)
    gateway:wait_log("event=request", "attempts=2", "status=200", id)
  end)
end)
