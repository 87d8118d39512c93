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
--- n is found. An event goes when the next one of its choice comes, with the text that is then
--- settled; the last one before its choice ends, or the stream, with all that is left.
local window = {}
window.__index = window
window.__metatable = false -- it is the same for all windows

--- Kinds with text to look at, and kinds after which a text does not go on.
local HAS_TEXT = { content = true, reasoning = true }
local ENDS_CHOICE = { finish = true, tool_call = true }
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

--- The bytes of an event whose text stays the same stay as they came.
local function with_text(event, text)
  if event.text ~= text then event.text = text end
  return event
end

--- The event that waits for its choice, with all text that is held; or nil.
local function flush(self, index, find)
  local held = self.held[index]
  self.held[index] = nil
  return held and with_text(held.event, (settle(self, held.text, find, true)))
end

--- The event, after what has to go before it.
local function flush_before(self, index, find, event)
  local before = flush(self, index, find)
  return before and { before, event } or event
end

local function flush_all(self, find, event)
  local indexes, events = {}, {}
  for index in pairs(self.held) do indexes[#indexes + 1] = index end
  table.sort(indexes)
  for _, index in ipairs(indexes) do events[#events + 1] = flush(self, index, find) end
  events[#events + 1] = event
  return events
end

--- A chunk with text may also finish its choice. Within a string of JSON these quotes would be
--- escaped, so this is the member.
local function is_last(event)
  return event.raw ~= nil and event.raw:find('"finish_reason"%s*:%s*"') ~= nil
end

--- The event takes the place of the one that waits, which goes with what is settled now.
local function advance(self, index, find, event, added)
  local held = self.held[index]
  if not held then
    self.held[index] = { kind = event.kind, text = added, event = event }
    return nil
  end
  local settled, rest = settle(self, held.text .. added, find, false)
  self.held[index] = { kind = event.kind, text = rest, event = event }
  return with_text(held.event, settled)
end

--- What a filter gives back: the events that may go now. Every event of a stream has to pass
--- through it.
---@param event weir.Event
---@param find fun(text: string, init: integer): integer|nil, integer, string
---@return weir.Event|weir.Event[]|nil
function window:map(event, find)
  local kind, index, text = event.kind, event.index or 0, event.text
  if ENDS_ALL[kind] then return flush_all(self, find, event) end
  if ENDS_CHOICE[kind] or HAS_TEXT[kind] and not text then -- no text: what Lua cannot hold
    return flush_before(self, index, find, event)
  end
  if not HAS_TEXT[kind] then return event end
  if event.whole then return with_text(event, (settle(self, text, find, true))) end

  local held, before = self.held[index], nil
  if held and held.kind ~= kind then before = flush(self, index, find) end
  before = advance(self, index, find, event, text) or before
  if not is_last(event) then return before end
  local last = flush(self, index, find)
  return before and { before, last } or last
end

return window
