--- reply.lua -- what req:reply makes: an answer of the gateway's own, in the shape that the
--- client asked for.
---
--- A table goes out as JSON. Text with an error status becomes an OpenAI-shaped error; text
--- with a status below 300 becomes what a model would have answered, streamed if the client
--- asked for a stream.
local host = require("weir.host")

--- Policies compose: what wraps one may map its response and wait for its end, whoever answered.
--- What the gateway itself says needs no filter.
local Reply = { is_reply = true, __metatable = false }
Reply.__index = {
  map = function(self) return self end,
  on_break = function(self) return self end,
  on_end = function(self) return self end,
}

local CHAT, COMPLETIONS = 0, 1 -- core/policy/config.h, enum endpoint

local function error_body(status, text)
  local kind = status < 500 and "invalid_request_error" or "server_error"
  return { error = { message = text, type = kind, param = host.null, code = "policy" } }
end

local function completion(request, choice, object)
  return {
    id = request.id,
    object = object,
    created = math.floor(host.time()),
    model = request.model,
    system_fingerprint = host.null,
    choices = host.json_array { choice },
  }
end

local function chat_answer(request, text)
  return completion(request, {
    index = 0,
    message = { role = "assistant", content = text },
    finish_reason = "stop",
  }, "chat.completion")
end

local function text_answer(request, text)
  return completion(request, { index = 0, text = text, finish_reason = "stop" }, "text_completion")
end

local function event(message)
  return "data: " .. host.json_encode(message) .. "\n\n"
end

local function chat_stream(request, text)
  local function chunk(delta, finish)
    return event(completion(request, {
      index = 0, delta = delta, finish_reason = finish or host.null,
    }, "chat.completion.chunk"))
  end
  return chunk { role = "assistant", content = text } .. chunk({}, "stop") .. "data: [DONE]\n\n"
end

local function stream_of(request, text)
  if request.endpoint == CHAT then return chat_stream(request, text) end
  return event(text_answer(request, text)) .. "data: [DONE]\n\n"
end

---@param request { id: string, endpoint: integer, model: string, stream: boolean }
---@param status integer
---@param body string|table
---@return table reply { status, headers, content_type, body }
return function(request, status, body)
  local reply = setmetatable({
    status = status, headers = {}, content_type = "application/json", body = body,
    stream = request.stream,
  }, Reply)
  if type(body) == "table" then return reply end
  if status >= 300 then
    reply.body = error_body(status, body)
  elseif request.endpoint ~= CHAT and request.endpoint ~= COMPLETIONS then
    error("req:reply with text cannot answer an embeddings request; give a table", 0)
  elseif request.stream then
    reply.content_type = "text/event-stream"
    reply.headers["cache-control"] = "no-cache"
    reply.headers["x-accel-buffering"] = "no"
    reply.body = stream_of(request, body)
  elseif request.endpoint == CHAT then
    reply.body = chat_answer(request, body)
  else
    reply.body = text_answer(request, body)
  end
  return reply
end
