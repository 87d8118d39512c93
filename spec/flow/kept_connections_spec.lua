-- Which connections to providers are used again, and what becomes of a request whose answer comes
-- before all of it was sent: over plain HTTP and over TLS.

local gateway = require("spec.support.gateway")
local openai = require("spec.support.openai")
local process = require("spec.support.process")
local tls = require("spec.support.tls")
local world = require("spec.support.world")

local MIB = 1024 * 1024
local LONG = 9 * MIB -- more than kernels hold: with less all may be sent before it is refused
local forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"

for _, secure in ipairs { false, true } do
  describe("a connection to a provider" .. (secure and " with TLS" or ""), function()
    local folder, w, first, second, started

    setup(function()
      folder = gateway.folder {}
      if secure then tls.make_certificate(folder, "good", "localhost") end
    end)

    teardown(function()
      gateway.remove_folder(folder)
    end)

    local function serve_tls()
      local front = process.start { "node", "spec/support/tls_front.mjs", folder .. "/good.key",
        folder .. "/good.pem", tostring(first.port), "65536" }
      w.processes[#w.processes + 1] = front
      local port = front:wait_for("out", function(text)
        return tonumber(text:match("listening on (%d+)"))
      end, "the TLS server to listen")
      first.url = ("https://localhost:%d/v1"):format(port)
    end

    before_each(function()
      w = world.new()
      first, second = w:upstream("first"), w:upstream("second")
      if secure then serve_tls() end
      started = w:gateway { env = secure and { SSL_CERT_FILE = folder .. "/good.pem" } or nil }
    end)

    after_each(function()
      w:close()
    end)

    --- The next request is answered over a new connection.
    local function assert_made_anew()
      local client = started:chat()
      first:answer(200, openai.answer("anew"))
      assert.equal(openai.answer("anew"), client:read_response().body)
    end

    --- A request that long, of which the provider has read the head alone.
    local function ask_at_length(size, stream)
      local client = started:connect()
      client:request { body = ('{"model":"default","stream":%s,"messages":[{"role":"user",'
        .. '"content":"%s"}]}'):format(stream or "false", ("x"):rep(size)) }
      local connection = first:accept()
      connection:read_until("\r\n\r\n")
      return client, connection
    end

    local endings = {
      ["keeps the connection"] = function() end,
      ["says no more"] = function(connection) connection:half_close() end,
      -- in front of TLS another would have to pass the answer on before it passes the reset on
      ["resets the connection"] = not secure and function(connection) connection:close() end or nil,
    }

    for how, ending in pairs(endings) do
      it("is not used again when the provider refuses a long request early and " .. how, function()
        local client, connection = ask_at_length(LONG)
        connection:respond(413, openai.failure("too long", "invalid_request_error"))
        ending(connection)
        local response = client:read_response()
        assert.equal(413, response.status)
        assert.equal("too long", response.json.error.message)
        if connection.fd then connection:wait_closed() end
        assert_made_anew()
        assert.is_false(second:is_asked())
      end)

      it("leaves room for the next target when it is busy early and " .. how, function()
        local client, connection = ask_at_length(LONG)
        connection:respond(429, openai.failure("busy", "rate_limit_error"))
        ending(connection)
        local other, asked = second:take()
        assert.is_true(#asked.body > LONG)
        other:respond(200, openai.answer("second"))
        assert.equal(openai.answer("second"), client:read_response().body)
        if connection.fd then connection:wait_closed() end
      end)
    end

    it("is not used again after an answer that began before the request was whole", function()
      local client, connection = ask_at_length(LONG, "true")
      connection:start_stream()
      connection:send_chunk(openai.content("early"))
      client:read_head()
      assert.equal(openai.content("early"), client:read_chunk())
      connection:read_until("include_usage")
      connection:read_until("}}")
      connection:send_chunk(openai.finish .. openai.done)
      connection:finish_stream()
      assert.equal(openai.finish .. openai.done, client:read_chunks())
      connection:wait_closed()
      assert_made_anew()
    end)

    it("is not used again when it says something while nothing is asked", function()
      local client = started:chat()
      local connection = first:answer(200, openai.answer())
      client:read_response()
      connection:send(forged)
      connection:wait_closed()
      assert_made_anew()
    end)

    for _, size in ipairs { 1024, 4096, 8192 } do
      it("is not used again when more comes behind an answer of " .. size, function()
        local client = started:chat()
        local connection = first:take()
        local body = openai.answer()
        local head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
          .. #body .. "\r\nX-Fill: "
        local answer = head .. ("x"):rep(size - #head - #body - 4) .. "\r\n\r\n" .. body
        assert.equal(size, #answer)
        connection:send(answer .. forged)
        assert.equal(body, client:read_response().body)
        assert_made_anew()
      end)
    end
  end)
end
