-- What clients learn of limits: ratelimit_headers.

local openai = require("spec.support.openai")
local world = require("spec.support.world")

local SAID = {
  ["X-RateLimit-Limit-Requests"] = "60", ["X-RateLimit-Remaining-Requests"] = "59",
  ["X-RateLimit-Reset-Requests"] = "1.500", ["Set-Cookie"] = "a=b",
  ["Anthropic-Ratelimit-Unified-Status"] = "allowed",
}

describe("ratelimit_headers", function()
  local w, up

  before_each(function()
    w = world.new()
    up = w:upstream("first")
  end)

  after_each(function()
    w:close()
  end)

  local function gateway(mode)
    local more = mode and (", ratelimit_headers = %q,"):format(mode) or ","
    return w:gateway { more = "  workers = 1" .. more }
  end

  --- The headers of a plain answer and of a stream.
  local function both(mode)
    local started, list = gateway(mode), {}
    for i, stream in ipairs { false, true } do
      local client = started:chat { stream = stream }
      local connection = up:take()
      if stream then
        connection:start_stream(SAID)
        for _, event in ipairs { openai.content("a"), openai.finish, openai.done } do
          connection:send_chunk(event)
        end
        connection:finish_stream()
      else
        connection:respond(200, openai.answer(), SAID)
        connection:close()
      end
      list[i] = client:read_response().headers
      assert.is_nil(list[i]["set-cookie"])
    end
    return list
  end

  it("are in OpenAI's form by default", function()
    for _, headers in ipairs(both()) do
      assert.equal("60", headers["x-ratelimit-limit-requests"])
      assert.equal("59", headers["x-ratelimit-remaining-requests"])
      assert.equal("1.5s", headers["x-ratelimit-reset-requests"])
      assert.is_nil(headers["anthropic-ratelimit-unified-status"])
    end
  end)

  it("are the provider's own when forwarded", function()
    for _, headers in ipairs(both("forward")) do
      assert.equal("1.500", headers["x-ratelimit-reset-requests"])
      assert.equal("allowed", headers["anthropic-ratelimit-unified-status"])
    end
  end)

  it("are none when stripped", function()
    for _, headers in ipairs(both("strip")) do
      for name in pairs(headers) do assert.is_nil(name:find("ratelimit", 1, true), name) end
    end
  end)

  it("leave a 429 its time, in every mode", function()
    for _, mode in ipairs { "synthesize", "forward", "strip" } do
      local started = gateway(mode)
      local client = started:chat()
      local connection = up:answer(429, "{}", { ["Retry-After"] = "30",
        ["X-RateLimit-Remaining-Requests"] = "0" })
      local headers = client:read_response().headers
      assert.equal("30", headers["retry-after"])
      assert.equal(mode == "forward" and "0" or nil, headers["x-ratelimit-remaining-requests"])
      connection:close()
    end
  end)
end)
