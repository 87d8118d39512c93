--- error_body.lua -- what a provider's error says, whatever its shape.
---
---   { error: { message, type, param, code } }      OpenAI, Groq
---   { error: { code: 429, message, metadata } }    OpenRouter
---   { message, type, param, code }                 Cerebras
---   { type: "error", error: { type, message } }    Anthropic
---   { type: "response.failed", response: { error } }   OpenAI's Responses
---   [ { error: { code, message, status } } ]       Gemini
---   { title, detail, status }                      RFC 7807, NVIDIA
---   { detail: "…" | [ { loc, msg } ] }             FastAPI, Mistral, vLLM
---   { error: "…" }, "…", plain text, HTML, nothing
---
--- It reads and judges nothing: what a code means is outcome.lua's affair.
local host = require("weir.host")
local error_body = {}

local function text_of(value)
  if type(value) == "string" then return value ~= "" and value or nil end
  if type(value) == "number" then return ("%.14g"):format(value) end
end

--- FastAPI's list of faults as one sentence: "body.messages: field required; …".
local function detail_of(detail)
  if type(detail) ~= "table" then return text_of(detail) end
  local faults = {}
  for _, fault in ipairs(detail) do
    if type(fault) == "table" and text_of(fault.msg) then
      local place = {}
      for _, step in ipairs(type(fault.loc) == "table" and fault.loc or {}) do
        place[#place + 1] = text_of(step)
      end
      local where = table.concat(place, ".")
      faults[#faults + 1] = (where ~= "" and where .. ": " or "") .. fault.msg
    end
  end
  return faults[1] and table.concat(faults, "; ")
end

--- The table that holds message and code, or a string, or nil when this is no error.
local function find_error(document)
  if type(document) ~= "table" then return nil end
  if type(document[1]) == "table" then document = document[1] end
  local response = document.response
  local inner = document.error or (type(response) == "table" and response.error)
  if inner ~= host.null and (type(inner) == "table" or text_of(inner)) then
    return inner, document
  end
  local is_flat = text_of(document.message) or detail_of(document.detail) or text_of(document.title)
  if is_flat then return document, document end
end

--- The HTTP status that the body names, when it names one.
local function status_of(found, document)
  for _, value in ipairs { found.code or false, found.status or false, document.status or false } do
    local status = tonumber(value)
    if status and status >= 400 and status <= 599 then return status end
  end
end

local function is_html(body)
  local start = body:match("^%s*(.-)%s*$"):sub(1, 512):lower()
  return start:find("^<!doctype") or start:find("^<html") or start:find("<head", 1, true)
end

--- What is no JSON: text is quoted, a page is only named.
local function read_text(body)
  if not body:find("%S") then return { shape = "empty" } end
  if is_html(body) or body:find("^%s*<") then return { shape = "html" } end
  if body:find("[%z\1-\8\14-\31]") then return { shape = "binary" } end
  return { shape = "text", message = body:match("^%s*(.-)%s*$") }
end

--- shape: "error", "json" (JSON that names no error), "text", "html", "binary" or "empty";
--- the others as far as the body says them. type, param and code are strings.
---@param body string|nil
---@return { shape: string, message?: string, type?: string, param?: string, code?: string,
---          status?: integer, metadata?: table, details?: table }
function error_body.read(body)
  if not body or body == "" then return { shape = "empty" } end
  local document = host.json_decode(body)
  if type(document) == "string" then return { shape = "text", message = text_of(document) } end
  if document == nil then return read_text(body) end
  local found, outer = find_error(document)
  if not found then return { shape = "json" } end
  if type(found) ~= "table" then return { shape = "error", message = text_of(found) } end
  return {
    shape = "error",
    message = text_of(found.message) or text_of(found.msg) or detail_of(found.detail)
      or text_of(found.title),
    type = text_of(found.type) or (type(found.status) == "string" and text_of(found.status)) or nil,
    param = text_of(found.param),
    code = text_of(found.code),
    status = status_of(found, outer),
    metadata = type(found.metadata) == "table" and found.metadata or nil,
    details = type(found.details) == "table" and found.details or nil,
  }
end

return error_body
