-- What every client sees: paths, statuses, headers, and errors in OpenAI's shape.

local openai = require("spec.support.openai")
local world = require("spec.support.world")

--- Asserts an error that the official SDKs understand.
local function assert_failure(response, status, kind)
  assert.equal(status, response.status)
  assert.equal("application/json", response.headers["content-type"])
  local failure = response.json and response.json.error
  assert.equal("table", type(failure))
  assert.equal("string", type(failure.message))
  assert.equal(kind, failure.type)
  assert.is_truthy(response.body:find('"param"', 1, true))
  assert.is_truthy(response.body:find('"code"', 1, true))
  assert.is_truthy(response.headers["x-request-id"])
end

describe("the surface", function()
  local w, first

  before_each(function()
    w = world.new()
    first = w:upstream("first")
  end)

  after_each(function()
    w:close()
  end)

  it("serves chat, completions and embeddings, also under /openai/v1", function()
    local gateway = w:gateway()
    local bodies = {
      ["/chat/completions"] = openai.request(),
      ["/completions"] = '{"model":"default","prompt":"hi"}',
      ["/embeddings"] = '{"model":"default","input":"hi"}',
    }
    for path, body in pairs(bodies) do
      for _, prefix in ipairs { "/v1", "/openai/v1" } do
        local client = gateway:request { path = prefix .. path, body = body }
        local connection, request = first:answer(200, '{"object":"list","data":[]}')
        assert.equal("/v1" .. path, request.path)
        assert.equal(200, client:read_response().status, prefix .. path)
        connection:close()
      end
    end
  end)

  it("ignores a query", function()
    local client = w:gateway():request { path = "/v1/chat/completions?api-version=1",
      body = openai.request() }
    first:answer(200, openai.answer())
    assert.equal(200, client:read_response().status)
  end)

  it("lists the configured models in OpenAI's shape", function()
    local gateway = w:gateway { models = [[
      small = waterfall { "first/m" },
      large = waterfall { "first/m" },
      ["*"] = waterfall { "first/*" },]] }
    for _, path in ipairs { "/v1/models", "/openai/v1/models" } do
      local response = gateway:request { path = path }:read_response()
      assert.equal(200, response.status)
      assert.equal("list", response.json.object)
      local ids = {}
      for i, model in ipairs(response.json.data) do
        assert.equal("model", model.object)
        assert.equal("number", type(model.created))
        assert.equal("string", type(model.owned_by))
        ids[i] = model.id
      end
      assert.same({ "large", "small" }, ids)
    end
  end)

  it("gives one model, or 404", function()
    local gateway = w:gateway()
    local response = gateway:request { path = "/v1/models/default" }:read_response()
    assert.equal(200, response.status)
    assert.equal("default", response.json.id)
    assert_failure(gateway:request { path = "/v1/models/none" }:read_response(), 404,
      "invalid_request_error")
  end)

  it("says that it is alive and ready", function()
    local gateway = w:gateway()
    for _, path in ipairs { "/healthz", "/readyz" } do
      assert.equal(200, gateway:request { path = path }:read_response().status)
    end
  end)

  it("says who served, after how many attempts, by which generation", function()
    local client = w:gateway():chat()
    first:answer(200, openai.answer())
    local headers = client:read_response().headers
    assert.is_truthy(headers["x-request-id"])
    assert.equal("first/first-model", headers["x-weir-target"])
    assert.equal("1", headers["x-weir-attempts"])
    assert.equal("1", headers["x-weir-generation"])
    assert.equal("application/json", headers["content-type"])
  end)

  it("tells caches and proxies to leave streams alone", function()
    local client = w:gateway():chat { stream = true }
    first:stream(openai.content("a"), openai.finish, openai.done):finish_stream()
    local headers = client:read_response().headers
    assert.is_truthy(headers["content-type"]:find("^text/event%-stream"))
    assert.equal("no-cache", headers["cache-control"])
    assert.equal("no", headers["x-accel-buffering"])
    assert.is_nil(headers["content-encoding"])
    assert.is_nil(headers["content-length"])
  end)

  it("gives each request an id of its own", function()
    local gateway = w:gateway()
    local client = gateway:connect()
    local ids = {}
    for i = 1, 3 do
      ids[i] = client:request { path = "/healthz" }:read_response().headers["x-request-id"]
    end
    assert.is_true(ids[1] ~= ids[2] and ids[2] ~= ids[3] and ids[1] ~= ids[3])
  end)

  it("keeps a connection for the next request", function()
    local client = w:gateway():connect()
    client:request { body = openai.request() }
    local provider = first:answer(200, openai.answer())
    assert.equal(200, client:read_response().status)
    client:request { body = openai.request(true) }
    provider:read_request()
    provider:start_stream()
    provider:send_chunk(openai.content("a") .. openai.finish .. openai.done)
    provider:finish_stream()
    assert.equal("complete", client:read_response().ended)
    assert.equal(200, client:request { path = "/healthz" }:read_response().status)
  end)

  it("closes the connection for who asks it to", function()
    local gateway = w:gateway()
    local client = gateway:request { path = "/healthz", headers = { Connection = "close" } }
    local response = client:read_response()
    assert.equal("close", response.headers["connection"])
    assert.equal("closed", select(2, client:read_all()))
    client = gateway:chat { stream = true, headers = { Connection = "close" } }
    first:stream(openai.content("a"), openai.finish, openai.done):finish_stream()
    assert.equal("complete", client:read_response().ended)
    assert.equal("closed", select(2, client:read_all()))
  end)

  it("streams to HTTP/1.0 without chunks, up to the close", function()
    local client = w:gateway():connect()
    local body = openai.request(true)
    client:send(("POST /v1/chat/completions HTTP/1.0\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s")
      :format(#body, body))
    first:stream(openai.content("a"), openai.finish, openai.done):finish_stream()
    local response = client:read_response()
    assert.is_nil(response.headers["transfer-encoding"])
    assert.equal("closed", response.ended)
    assert.equal(openai.content("a") .. openai.finish .. openai.done, response.body)
  end)

  it("tells HTTP/1.0 that its connection is kept, when it asked for that", function()
    local client = w:gateway():connect()
    for _ = 1, 2 do
      client:send("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
      local response = client:read_response()
      assert.equal(200, response.status)
      assert.equal("keep-alive", response.headers["connection"])
    end
  end)

  it("answers Expect: 100-continue before the body comes", function()
    local client = w:gateway():connect()
    local body = openai.request()
    client:send(("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
      .. "Content-Length: %d\r\n\r\n"):format(#body))
    assert.equal("HTTP/1.1 100", client:read_until("\r\n\r\n"):sub(1, 12))
    client:send(body)
    first:answer(200, openai.answer())
    assert.equal(200, client:read_response().status)
  end)

  describe("refuses in OpenAI's shape", function()
    it("a path it does not have", function()
      assert_failure(w:gateway():request { path = "/v1/nothing" }:read_response(), 404,
        "invalid_request_error")
    end)

    it("a method that a path does not have", function()
      local gateway = w:gateway()
      local get = gateway:request { path = "/v1/chat/completions" }:read_response()
      assert_failure(get, 405, "invalid_request_error")
      assert.equal("POST", get.headers.allow)
      local post = gateway:request { path = "/v1/models", body = "{}" }:read_response()
      assert_failure(post, 405, "invalid_request_error")
    end)

    it("a model that nobody serves", function()
      local response = w:gateway():chat { model = "gpt-none" }:read_response()
      assert_failure(response, 404, "invalid_request_error")
      assert.equal("model_not_found", response.json.error.code)
    end)

    it("a body over the limit", function()
      local gateway = w:gateway { more = "  workers = 1, limits = { body = 1000 }," }
      local body = '{"model":"default","messages":"' .. ("x"):rep(1000) .. '"}'
      assert_failure(gateway:request { body = body }:read_response(), 413,
        "invalid_request_error")
    end)

    it("a body that grows over the limit in chunks", function()
      local gateway = w:gateway { more = "  workers = 1, limits = { body = 1000 }," }
      local client = gateway:connect()
      client:send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        .. "\r\n200\r\n" .. ("x"):rep(512) .. "\r\n200\r\n" .. ("x"):rep(512) .. "\r\n0\r\n\r\n")
      assert_failure(client:read_response(), 413, "invalid_request_error")
    end)

    it("headers over the limit", function()
      local gateway = w:gateway()
      local response = gateway:request { path = "/healthz",
        headers = { ["X-Long"] = ("x"):rep(33 * 1024) } }:read_response()
      assert_failure(response, 431, "invalid_request_error")
    end)

    local bodies = {
      ["an empty body"] = "",
      ["no JSON"] = "hello",
      ["cut JSON"] = '{"model":"default","messages":[',
      ["a list"] = "[1,2]",
      ["something after the body"] = openai.request() .. "x",
      ["two models"] = '{"model":"a","model":"default","messages":[]}',
      ["a model behind escapes twice"] = '{"model":"a","mod\\u0065l":"default","messages":[]}',
      ["a model that is no string"] = '{"model":7,"messages":[]}',
      ["no model"] = '{"messages":[{"role":"user","content":"hi"}]}',
      ["NUL in the model"] = '{"model":"default\\u0000evil","messages":[]}',
      ["bad UTF-8"] = '{"model":"default","messages":"\255"}',
      ["a control byte in a string"] = '{"model":"default","messages":"a\nb"}',
      ["too deep JSON"] = '{"model":"default","messages":' .. ("["):rep(200)
        .. ("]"):rep(200) .. "}",
      ["a byte order mark"] = "\239\187\191" .. openai.request(),
      ["a leading zero"] = '{"model":"default","messages":[],"n":012}',
      ["no messages"] = '{"model":"default"}',
      ["empty messages"] = '{"model":"default","messages":[]}',
      ["messages that are no list"] = '{"model":"default","messages":"hi"}',
      ["a stream that is no boolean"] = '{"model":"default","messages":[{"role":"user",'
        .. '"content":"hi"}],"stream":"yes"}',
    }
    for name, body in pairs(bodies) do
      it(name, function()
        local gateway = w:gateway()
        local client = gateway:connect()
        client:send(("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
          .. "Content-Length: %d\r\n\r\n%s"):format(#body, body))
        assert_failure(client:read_response(), 400, "invalid_request_error")
        -- and the connection goes on
        assert.equal(200, client:request { path = "/healthz" }:read_response().status)
        assert.is_false(first:is_asked())
      end)
    end
  end)

  describe("with keys", function()
    local gateway

    before_each(function()
      gateway = w:gateway {
        more = '  workers = 1, keys = { weir.env "ONE", weir.env "TWO" },',
        env = { ONE = "wk-one", TWO = "wk-two" },
      }
    end)

    it("serves who has one of them", function()
      for _, key in ipairs { "wk-one", "wk-two" } do
        local client = gateway:chat { headers = { Authorization = "Bearer " .. key } }
        local connection = first:answer(200, openai.answer())
        assert.equal(200, client:read_response().status)
        connection:close()
      end
    end)

    it("refuses who has none, also for models", function()
      for _, headers in ipairs {
        {}, { Authorization = "Bearer wk-on" }, { Authorization = "Bearer wk-onee" },
        { Authorization = "Bearer " }, { Authorization = "Basic wk-one" },
        { Authorization = "wk-one" },
      } do
        local response = gateway:chat { headers = headers }:read_response()
        assert_failure(response, 401, "authentication_error")
        assert.equal("invalid_api_key", response.json.error.code)
        assert.equal("Bearer", response.headers["www-authenticate"])
        response = gateway:request { path = "/v1/models", headers = headers }:read_response()
        assert.equal(401, response.status)
      end
      assert.is_false(first:is_asked())
    end)

    it("says whose a key is", function()
      local response = gateway:request { path = "/v1/key",
        headers = { Authorization = "Bearer wk-one" } }:read_response()
      assert.equal('{"object":"key","name":"ONE"}', response.body)
    end)

    it("answers health checks without", function()
      assert.equal(200, gateway:request { path = "/healthz" }:read_response().status)
      assert.equal(200, gateway:request { path = "/readyz" }:read_response().status)
    end)
  end)

  it("says so when it has no keys", function()
    local gateway = w:gateway()
    gateway:wait_log("keys")
  end)

  it("passes a provider's 400 on with its message, param and code", function()
    local client = w:gateway():chat()
    first:answer(400, '{"error":{"message":"temperature is too high",'
      .. '"type":"invalid_request_error","param":"temperature","code":"bad_value"}}')
    local response = client:read_response()
    assert_failure(response, 400, "invalid_request_error")
    assert.equal("temperature is too high", response.json.error.message)
    assert.equal("temperature", response.json.error.param)
    assert.equal("bad_value", response.json.error.code)
  end)

  it("never shows a provider's 401 as the client's", function()
    local client = w:gateway():chat()
    first:answer(401, openai.failure("bad key", "invalid_request_error", "invalid_api_key"))
    assert_failure(client:read_response(), 502, "server_error")
  end)

  it("sends Retry-After with every 429, and what SDKs do with long ones", function()
    local gateway = w:gateway()
    local client = gateway:chat()
    first:answer(429, openai.failure("slow down"), { ["Retry-After"] = "3600" })
    local response = client:read_response()
    assert_failure(response, 429, "rate_limit_error")
    assert.equal("3600", response.headers["retry-after"])
    assert.equal("false", response.headers["x-should-retry"])
    -- cooling now: not tried again, and still an honest time
    response = gateway:chat():read_response()
    assert_failure(response, 429, "rate_limit_error")
    assert.is_true(tonumber(response.headers["retry-after"]) > 3500)
    assert.is_false(first:is_asked())
  end)
end)
