--- balance.lua -- spreads requests over targets; the others stand by for the one that was drawn.
local attempts = require("weir.attempts")
local weir = require("weir")

--- Draws one of the list after the other, a heavier one sooner.
local function shuffle(list, weight_of)
  local left, total, drawn = {}, 0, {}
  for i, target in ipairs(list) do
    left[i], total = target, total + weight_of[target]
  end
  while #left > 0 do
    local at, mark = 1, math.random() * total
    while at < #left and mark >= weight_of[left[at]] do
      mark, at = mark - weight_of[left[at]], at + 1
    end
    total = total - weight_of[left[at]]
    drawn[#drawn + 1] = table.remove(left, at)
  end
  return drawn
end

--- balance({ "groq/llama-3.1-8b-instant", "laptop/llama3.2" }, { weights = { 3, 1 } })
---@param targets weir.Target[]
---@param opts { weights: number[]|nil }|nil weights: one for each target, else all alike; 0 only
---  stands by
---@return weir.Policy
return function(targets, opts)
  targets = weir.targets(targets)
  local weights, weight_of = opts and opts.weights or {}, {}
  for i, target in ipairs(targets) do
    local weight = weights[i] or (opts and opts.weights and 0 or 1)
    if type(weight) ~= "number" or weight < 0 then
      error(("balance: weights[%d] must be a number from 0 on"):format(i), 2)
    end
    weight_of[target] = weight
  end

  return function(req)
    return attempts(req, shuffle(req:available(targets), weight_of))
  end
end
