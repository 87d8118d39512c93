--- cheapest.lua -- the target that would cost least for this request comes first.
local attempts = require("weir.attempts")
local price = require("weir.price")
local weir = require("weir")

local BYTES_A_TOKEN = 4    -- of English; good enough to compare
local ANSWER_TOKENS = 500  -- where the client sets no limit

--- By target, else by model: "laptop/llama3.2" before "llama3.2".
local function price_of(prices, target)
  local provider, model = target:match("^(.-)/(.*)$")
  return price.find(prices, provider, provider, model) or price.of_model(model)
end

--- cheapest({ "openai/gpt-4o-mini", "groq/llama-3.1-8b-instant" })
---@param targets weir.Target[]
---@param opts { prices: table<string, { input: number, output: number }>|nil }|nil dollars a
---  million tokens by target or model, beside those of lua/weir/prices.lua
---@return weir.Policy
return function(targets, opts)
  targets = weir.targets(targets)
  local prices = opts and opts.prices or {}

  return function(req)
    local body, list, cost, place = req.body, {}, {}, {}
    local asked = #weir.json.encode(body.messages or body.prompt or body.input) / BYTES_A_TOKEN
    local answer = body.max_completion_tokens or body.max_tokens or ANSWER_TOKENS
    for i, target in ipairs(req:available(targets)) do
      local cost_of = price_of(prices, target)
      list[i], place[target] = target, i
      cost[target] = cost_of and asked * cost_of.input + answer * cost_of.output or math.huge
    end
    table.sort(list, function(a, b) -- what has no price comes last
      if cost[a] ~= cost[b] then return cost[a] < cost[b] end
      return place[a] < place[b]
    end)
    return attempts(req, list)
  end
end
