--- window.lua -- lets a filter see text that events cut into pieces.
---
--- A stream brings a text in small pieces, and what a filter looks for may be cut anywhere:
--- "my key is sk-ab", "cdef…". A window holds back the end of the text until it is settled:
---
---   local window = weir.window(128)
---   res:map(function(event) return window:map(event, find) end)
---
--- find(text, init) works like string.find: first, last, replacement of the next place that is
--- to be replaced, or nil. It sees the text that no client has yet, from event to event:
---
---   sent to the client        | held back: the next event may go on with it
---   Write to [email], the key | is sk-ab
---
--- Held back are the last n bytes, or with a second argument only so many words of them; and a
--- place that may still grow. Nothing longer than n bytes that find does not know by its first
--- n is found. What is held goes out when its choice finishes and at the end of the stream.
local window = {}
window.__index = window

--- Text per choice and kind: content and reasoning are two texts.
local HELD_KINDS = { content = true, reasoning = true }
local ENDS_ALL = { done = true, error = true }

--- Bytes, in units of the window, past which a place found loses its middle: it is replaced
--- whole in any case, and memory stays bounded.
local LONGEST = 8

--- One window serves one response.
---@param size integer bytes that are held back at most of text in which nothing is found
---@param words integer|nil hold back only this many words, when what is looked for has fewer
---  spaces than that: a stream that is read word by word then flows
---@return weir.Window
function window.new(size, words)
  if type(size) ~= "number" or size < 1 or size % 1 ~= 0 then
    error("bad argument #1 to weir.window: expected a whole number of bytes, at least 1", 2)
  end
  if words ~= nil and (type(words) ~= "number" or words < 1 or words % 1 ~= 0) then
    error("bad argument #2 to weir.window: expected a whole number of words, at least 1", 2)
  end
  return setmetatable({ size = size, words = words, held = {} }, window)
end

--- Where the last words of text begin; a word takes the space after it along.
local function words_begin(text, words, lowest)
  local at = #text + 1
  for _ = 1, words do
    while at > lowest and text:find("^%s", at - 1) do at = at - 1 end
    while at > lowest and text:find("^%S", at - 1) do at = at - 1 end
  end
  return at
end

--- How many bytes of text may leave if nothing is found in the rest.
local function free_bytes(self, text)
  local lowest = math.max(1, #text - self.size + 1)
  return (self.words and words_begin(text, self.words, lowest) or lowest) - 1
end

--- A place that has grown past all reason keeps its two ends.
local function shorten(self, place)
  if #place <= LONGEST * self.size then return place end
  return place:sub(1, self.size) .. place:sub(-self.size)
end

--- Splits text into what is settled, with its places replaced, and what has to wait.
local function settle(self, text, find, is_end)
  local settled, position = {}, 1
  local free = is_end and #text or free_bytes(self, text)
  while true do
    local first, last, replacement = find(text, position)
    if not first or first > free then break end
    settled[#settled + 1] = text:sub(position, first - 1)
    if last > free then -- it may still grow
      return table.concat(settled), shorten(self, text:sub(first))
    end
    settled[#settled + 1] = replacement
    position = last + 1
  end
  settled[#settled + 1] = text:sub(position, free)
  return table.concat(settled), text:sub(math.max(position, free + 1))
end

--- What is held of a choice, as an event, or nil.
local function flush(self, index, find)
  local held = self.held[index]
  self.held[index] = nil
  if not held or held.text == "" then return nil end
  return held.event:copy((settle(self, held.text, find, true)))
end

local function flush_all(self, find, event)
  local indexes, events = {}, {}
  for index in pairs(self.held) do indexes[#indexes + 1] = index end
  table.sort(indexes)
  for _, index in ipairs(indexes) do events[#events + 1] = flush(self, index, find) end
  events[#events + 1] = event
  return events
end

--- A new text of a choice begins where its kind changes; what the old one held goes first.
local function held_for(self, event, find)
  local index = event.index or 0
  local held = self.held[index]
  if held and held.kind == event.kind then return held, nil end
  local before = flush(self, index, find)
  held = { kind = event.kind, text = "", event = event:copy("") }
  self.held[index] = held
  return held, before
end

--- The event with its settled text, after what was held where something ends: what a filter
--- gives back. Every event of a stream has to pass through it.
---@param event weir.Event
---@param find fun(text: string, init: integer): integer|nil, integer, string
---@return weir.Event|weir.Event[]
function window:map(event, find)
  if ENDS_ALL[event.kind] then return flush_all(self, find, event) end
  if not HELD_KINDS[event.kind] then
    local before = event.kind == "finish" and flush(self, event.index or 0, find)
    return before and { before, event } or event
  end
  local held, before = held_for(self, event, find)
  local settled, rest = settle(self, held.text .. event.text, find, event.finish ~= nil)
  held.text = rest
  if settled ~= event.text then event.text = settled end
  return before and { before, event } or event
end

return window
