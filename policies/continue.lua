--- continue.lua -- a stream that breaks goes on with the next target, from where it was.
local weir = require("weir")

--- What was said so far, as the beginning of the answer.
local function prefill(body, said)
  if not body.messages then
    body.prompt = body.prompt .. said
    return
  end
  local last = body.messages[#body.messages]
  if last.role == "assistant" and type(last.content) == "string" then
    last.content = last.content .. said
  else
    table.insert(body.messages, { role = "assistant", content = said })
  end
end

local function is_one_text(body) -- several answers at once cannot be told apart in a prefill
  return (body.n or 1) == 1 and (body.messages ~= nil or type(body.prompt) == "string")
end

--- continue { "mistral/mistral-small-latest", "openrouter/mistralai/mistral-small" }
---@param targets weir.Target[] that take a last message of the assistant's as a beginning
---@param opts { prefill: (fun(body: table, said: string))|nil }|nil prefill: for those that want
---  it written in another way
---@return weir.Policy
return function(targets, opts)
  targets = weir.targets(targets)
  local add = opts and opts.prefill or prefill

  return function(req)
    local left, failure = req:available(targets), nil

    local function ask(said)
      local edit = said and said ~= "" and function(body) add(body, said) end or nil
      while #left > 0 do
        local res, err = req:send(table.remove(left, 1), { edit = edit })
        if res or err.final and not said then return res, err end
        failure = err
      end
      return nil, failure
    end

    local res, err = ask()
    if res and res.stream and is_one_text(req.body) then res:on_break(ask) end
    return res, err
  end
end
