--- filters.lua -- the chain of filters of one response, over one event.
---
--- It runs as a coroutine, so a filter may wait: the stream waits with it, and nobody else.
local filters = {}

--- What one filter made of some events, in order.
local function apply(filter, events)
  local out, count = {}, 0
  for i = 1, #events do
    local result = filter(events[i])
    if type(result) == "table" then
      for k = 1, #result do
        count = count + 1
        out[count] = result[k]
      end
    elseif result ~= nil then
      count = count + 1
      out[count] = result
    end
  end
  return out
end

--- An event through all filters; gives what is left of it, which may be nothing.
---@param chain weir.Filter[]
---@param event weir.Event
---@return weir.Event ...
function filters.run(chain, event)
  if #chain == 1 then -- nearly always: one event in, one out
    local result = chain[1](event)
    if type(result) ~= "table" then return result end
    return unpack(result)
  end
  local events = { event }
  for i = 1, #chain do events = apply(chain[i], events) end
  return unpack(events)
end

return filters
