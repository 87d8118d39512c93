local http = require("spec.support.http")
local openai = require("spec.support.openai")
local world = require("spec.support.world")

-- One mock for all: that it goes on serving after each fault is part of what is shown.
describe("a fault of weir mock", function()
  local w, mock

  setup(function()
    w = world.new()
    mock = w:mock("m", "--text", "one two three four")
  end)

  teardown(function()
    w:close()
  end)

  --- A connection on which a request was sent whose answer goes wrong as options say.
  local function play(options, stream)
    local body = { model = "mock:" .. options, stream = stream, messages = {} }
    return http.connect(mock.port):request { body = body }
  end

  local function ask(options, stream)
    return play(options, stream):read_response()
  end

  local function go()
    http.connect(mock.port):request { method = "POST", path = "/mock/go" }:read_response()
  end

  --- Waits until the mock has taken up so many more requests than before.
  local function count_requests()
    return http.connect(mock.port):request { path = "/mock/stats" }:read_response().json.requests
  end

  local function wait_requests(count)
    http.connect(mock.port):request { path = "/mock/wait?requests=" .. count }:read_response()
  end

  local function count_events(text)
    return #openai.events(text)
  end

  for _, stream in ipairs { false, true } do
    describe(stream and "in a stream" or "in a plain answer", function()
      local before_body = {
        reset_before_head = { "^$", "reset" },
        close_before_head = { "^$", "closed" },
        cut_in_head = { "^HTTP/1.1 200 OK\r\n", "closed" },
        reset_in_head = { "^HTTP/1.1 200 OK\r\n", "reset" },
        reset_after_head = { "\r\n\r\n$", "reset" },
        close_after_head = { "\r\n\r\n$", "closed" },
      }
      for fault, expected in pairs(before_body) do
        it("is " .. fault, function()
          local bytes, ended = play("fault=" .. fault, stream):read_all()
          assert.truthy(bytes:find(expected[1]))
          assert.equal(expected[2], ended)
          assert.equal(fault:find("after_head", 1, true) ~= nil, bytes:find("\r\n\r\n") ~= nil)
        end)
      end

      it("is stall_head, until it may go on", function()
        local count = count_requests()
        local client = play("fault=stall_head", stream)
        wait_requests(count + 1)
        assert.is_false(client:is_readable())
        go()
        assert.equal("complete", client:read_response().ended)
      end)

      it("is stall_after_head, until it may go on", function()
        local client = play("fault=stall_after_head", stream)
        assert.equal(200, client:read_head().status)
        assert.is_false(client:is_readable())
        go()
        assert.truthy(client:read_until("}"))
      end)

      it("is an error of any status", function()
        for _, status in ipairs { 400, 401, 402, 403, 404, 413, 422, 429, 500, 502, 503, 529 } do
          local response = ask("status=" .. status, stream)
          assert.equal(status, response.status)
          assert.equal("string", type(response.json.error.message))
        end
      end)

      it("is a status without a body", function()
        for _, status in ipairs { 101, 204, 205 } do
          local client = play("fault=status_" .. status, stream)
          assert.equal(status, client:read_head().status)
          assert.is_false(client:is_readable())
        end
      end)

      it("is a redirect", function()
        local response = ask("fault=redirect", stream)
        assert.equal(307, response.status)
        assert.truthy(response.headers.location)
      end)

      it("is an error, nothing, or a web page inside a 200", function()
        assert.truthy(ask("fault=error_200", stream).json.error)
        assert.equal("", ask("fault=empty_200", stream).body)
        local page = ask("fault=html_200", stream)
        assert.equal(200, page.status)
        assert.equal("text/html", page.headers["content-type"])
        assert.truthy(page.body:find("<html>", 1, true))
      end)

      it("is a body compressed unasked", function()
        local response = ask("fault=gzip", stream)
        assert.equal("gzip", response.headers["content-encoding"])
        assert.equal("\31\139\8", response.body:sub(1, 3))
      end)

      it("is a head that no client should take", function()
        local bytes = play("fault=junk_status", stream):read_until("\r\n\r\n")
        assert.falsy(bytes:find("HTTP/1.1", 1, true))
        bytes = play("fault=huge_header:400000", stream):read_until("\r\n\r\n")
        assert.truthy(#bytes > 400000)
        bytes = play("fault=two_lengths", stream):read_until("\r\n\r\n")
        local _, lengths = bytes:gsub("content%-length", "")
        local _, chunked = bytes:gsub("chunked", "")
        assert.equal(2, lengths + chunked)
      end)

      it("is a flood of interim heads before the answer", function()
        local client = play("fault=flood_1xx:20", stream)
        for _ = 1, 20 do
          assert.equal(100, client:read_head().status)
        end
        assert.equal("complete", client:read_response().ended)
      end)

      it("is a chunk size that is no number", function()
        local client = play("fault=bad_chunk_size", stream)
        assert.equal("chunked", client:read_head().headers["transfer-encoding"])
        assert.equal("zz\r\n", client:read_until("\r\n"))
      end)

      it("is headers behind the body", function()
        local client = play("fault=trailers", stream)
        assert.equal("chunked", client:read_head().headers["transfer-encoding"])
        assert.truthy(client:read_until("\r\n\r\n"):find("\r\nx-mock-trailer: last\r\n", 1, true))
      end)

      it("is bytes in the text that are no UTF-8, or no code point", function()
        assert.truthy(ask("fault=bad_utf8", stream).body:find("\255\254", 1, true))
        assert.truthy(ask("fault=lone_surrogate", stream).body:find("\\ud83d", 1, true))
      end)

      it("is an event of the size that is asked", function()
        assert.truthy(#ask("fault=giant_line:3000000", stream).body > 3000000)
      end)

      it("is a body that comes byte by byte, whole in the end", function()
        local whole = ask("text=a", stream)
        local drip = ask("text=a,fault=drip,interval=1", stream)
        assert.equal("complete", drip.ended)
        assert.equal(#openai.events(whole.body), #openai.events(drip.body))
      end)

      it("is the same answer in writes of seven bytes", function()
        local response = ask("split=7,text=one two", stream)
        assert.equal("complete", response.ended)
        assert.truthy(response.body:find("one", 1, true))
      end)
    end)
  end

  describe("in a stream", function()
    it("is a cut after so many chunks", function()
      for fault, ended in pairs { cut_body = "closed", reset_body = "reset" } do
        local text, why = play("fault=" .. fault .. ":2", true):read_all()
        assert.equal(ended, why)
        assert.equal(3, count_events(text))
        assert.falsy(text:find("\r\n0\r\n", 1, true))
      end
    end)

    it("is a cut at any place that has a name", function()
      for place, events in pairs { head = 0, role = 1, finish = 6, usage = 6, done = 7 } do
        local text, why = play("fault=cut_body,after=" .. place, true):read_all()
        assert.equal("closed", why)
        assert.equal(events, count_events(text), place)
      end
    end)

    it("is a stall that may go on", function()
      local client = play("fault=stall_body,after=1", true)
      client:read_head()
      assert.truthy(client:read_chunk():find("assistant", 1, true))
      assert.truthy(client:read_chunk():find("one", 1, true))
      assert.is_false(client:is_readable())
      go()
      local rest, ended = client:read_chunks()
      assert.equal("complete", ended)
      assert.truthy(rest:find("[DONE]", 1, true))
    end)

    it("is a stall with comments", function()
      local client = play("fault=stall_body:1,ping=0.001", true)
      client:read_head()
      client:read_chunk()
      client:read_chunk()
      assert.equal(": ping\n\n", client:read_chunk())
      assert.equal(": ping\n\n", client:read_chunk())
    end)

    it("is an orderly end with neither finish nor [DONE]", function()
      for fault, events in pairs { ["no_finish:2"] = 3, role_only = 1, empty_stream = 0 } do
        local response = ask("fault=" .. fault, true)
        assert.equal("complete", response.ended)
        assert.equal(events, count_events(response.body))
        assert.falsy(response.body:find("stop", 1, true))
      end
    end)

    it("is an end without [DONE], or a connection that stays open behind it", function()
      assert.falsy(ask("no-done", true).body:find("[DONE]", 1, true))
      local client = play("fault=linger", true)
      assert.truthy(client:read_until("data: [DONE]\n\n\r\n"))
      assert.is_false(client:is_readable())
    end)

    it("is an error event in the provider's shape", function()
      local first = ask("fault=error_first", true)
      assert.equal(1, count_events(first.body))
      assert.truthy(http.decode(openai.events(first.body)[1]).error)
      local later = ask("fault=error_body:2,shape=openrouter,message=busy", true)
      local last = http.decode(openai.events(later.body)[4])
      assert.equal("busy", last.error.message)
      assert.equal("error", last.choices[1].finish_reason)
      assert.truthy(ask("fault=error_body:1,shape=anthropic", true).body:find(
        "event: error\ndata: {\"type\":\"error\"", 1, true))
    end)

    it("is comments before and between the events", function()
      local response = ask("fault=comments", true)
      assert.truthy(response.body:find("^: OPENROUTER PROCESSING\n\n"))
      assert.truthy(response.body:find("\n\n: OPENROUTER PROCESSING\n\ndata: [DONE]", 1, true))
      assert.equal(7, count_events(response.body))
    end)

    it("is half of an event's JSON", function()
      local events = openai.events(ask("fault=truncated_json", true).body)
      assert.is_nil(http.decode(events[2]))
      assert.truthy(http.decode(events[1]))
    end)

    it("is usage where Groq has it, or in each chunk", function()
      local groq = openai.events(ask("fault=usage_in_finish", true).body)
      assert.equal(4, http.decode(groq[6]).x_groq.usage.completion_tokens)
      for _, data in ipairs(openai.events(ask("fault=usage_every_chunk", true).body)) do
        assert.truthy(data == "[DONE]" or http.decode(data).usage.total_tokens)
      end
    end)

    it("ends its lines with CRLF", function()
      assert.truthy(ask("crlf", true).body:find("data: %[DONE%]\r\n\r\n$"))
    end)

    it("is a body without length or chunks", function()
      local response = ask("framing=close", true)
      assert.equal("closed", response.ended)
      assert.is_nil(response.headers["transfer-encoding"])
      assert.equal(7, count_events(response.body))
    end)
  end)

  describe("in a plain answer", function()
    it("is a cut after so many bytes", function()
      for fault, ended in pairs { cut_body = "closed", reset_body = "reset" } do
        local client = play("fault=" .. fault .. ":40")
        local head = client:read_head()
        local body, why = client:read_all()
        assert.equal(ended, why)
        assert.equal(40, #body)
        assert.truthy(tonumber(head.headers["content-length"]) > 40)
      end
    end)

    it("is half of the JSON, in order", function()
      local response = ask("fault=truncated_json")
      assert.equal("complete", response.ended)
      assert.is_nil(response.json)
    end)

    it("is more bytes than were announced", function()
      local client = play("fault=extra_bytes")
      assert.equal("complete", client:read_response().ended)
      assert.equal("and some more", client:read_exactly(13))
    end)

    it("has an error in each provider's shape", function()
      assert.equal(429, ask("status=429,shape=openrouter").json.error.code)
      assert.equal("rate_limit_error", ask("status=429,shape=anthropic").json.error.type)
      assert.equal("RESOURCE_EXHAUSTED", ask("status=429,shape=gemini").json[1].error.status)
      assert.equal("busy", http.decode(ask("status=503,shape=rfc7807,message=busy").body).detail)
      assert.equal("busy", ask("status=422,shape=fastapi,message=busy").json.detail[1].msg)
      assert.equal("busy", ask("status=500,shape=string,message=busy").json.error)
      assert.equal("busy", ask("status=500,shape=text,message=busy").body)
      assert.equal("text/html", ask("status=502,shape=html").headers["content-type"])
      assert.equal("", ask("status=502,shape=empty").body)
    end)

    it("carries the code, the headers and the Retry-After that it is given", function()
      local response = ask("status=429,code=insufficient_quota,retry-after=7,header=X-Org:%20a%2Cb")
      assert.equal("insufficient_quota", response.json.error.code)
      assert.equal("7", response.headers["retry-after"])
      assert.equal("a,b", response.headers["x-org"])
    end)
  end)

  describe("comes", function()
    local function statuses(options, count)
      local list = {}
      for i = 1, count do
        list[i] = ask(options).status
      end
      return list
    end

    it("with every Nth request to a model", function()
      assert.same({ 200, 200, 500, 200, 200, 500 }, statuses("status=500,fault-every=3", 6))
    end)

    it("with the first N requests to a model", function()
      assert.same({ 500, 500, 200, 200 }, statuses("status=500,fault-first=2", 4))
    end)

    it("with a share of the requests, the same for the same seed", function()
      local function run()
        local other = w:mock("other", "--seed", "7", "--fault-rate", "0.5", "--fault", "status:500")
        local list = {}
        for i = 1, 40 do
          list[i] = http.connect(other.port):request { body = "{}" }:read_response().status
        end
        return list
      end
      local first = run()
      local _, failed = table.concat(first, " "):gsub("500", "")
      assert.truthy(failed > 5 and failed < 35)
      assert.same(first, run())
    end)
  end)
end)
