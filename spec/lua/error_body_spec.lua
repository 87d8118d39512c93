require("spec.support.fake")
local error_body = require("weir.error_body")

--- Each is a body as a provider sends it, and what has to be read from it.
local SHAPES = {
  {
    "OpenAI's",
    [[{"error":{"message":"Bad model","type":"invalid_request_error","param":"model","code":"x"}}]],
    { shape = "error", message = "Bad model", type = "invalid_request_error", param = "model",
      code = "x" },
  },
  {
    "OpenAI's with nulls",
    [[{"error":{"message":"Bad","type":"server_error","param":null,"code":null}}]],
    { shape = "error", message = "Bad", type = "server_error" },
  },
  {
    "OpenRouter's with a number",
    [[{"error":{"code":429,"message":"Slow","metadata":{"provider_name":"Z"}},"user_id":"u"}]],
    { shape = "error", message = "Slow", code = "429", status = 429,
      metadata = { provider_name = "Z" } },
  },
  {
    "Cerebras' flat one",
    [[{"message":"Wrong API Key","type":"invalid_request_error","param":"api_key",
       "code":"wrong_api_key"}]],
    { shape = "error", message = "Wrong API Key", type = "invalid_request_error",
      param = "api_key", code = "wrong_api_key" },
  },
  {
    "Anthropic's",
    [[{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}]],
    { shape = "error", message = "Overloaded", type = "overloaded_error" },
  },
  {
    "a failed response's",
    [[{"type":"response.failed","response":{"error":{"code":"server_error","message":"Oh"}}}]],
    { shape = "error", message = "Oh", code = "server_error" },
  },
  {
    "an error event's without an error inside",
    [[{"type":"error","code":"server_error","message":"Oh","param":null}]],
    { shape = "error", message = "Oh", type = "error", code = "server_error" },
  },
  {
    "Gemini's list",
    [[ [{"error":{"code":429,"message":"Quota","status":"RESOURCE_EXHAUSTED","details":[]}}] ]],
    { shape = "error", message = "Quota", type = "RESOURCE_EXHAUSTED", code = "429", status = 429,
      details = {} },
  },
  {
    "RFC 7807's",
    [[{"type":"about:blank","title":"Bad Request","detail":"DEGRADED function","status":400}]],
    { shape = "error", message = "DEGRADED function", type = "about:blank", status = 400 },
  },
  {
    "RFC 7807's with a title alone",
    [[{"title":"Bad Gateway","status":502}]],
    { shape = "error", message = "Bad Gateway", status = 502 },
  },
  {
    "FastAPI's list",
    [[{"detail":[{"loc":["body","messages",0],"msg":"field required","type":"missing"},
                 {"msg":"too long"}]}]],
    { shape = "error", message = "body.messages.0: field required; too long" },
  },
  { "FastAPI's text", [[{"detail":"Not Found"}]], { shape = "error", message = "Not Found" } },
  {
    "a text as error", [[{"error":"model 'x' not found"}]],
    { shape = "error", message = "model 'x' not found" },
  },
  { "a JSON text", [["no"]], { shape = "text", message = "no" } },
  { "an error without words", [[{"error":{}}]], { shape = "error" } },
  { "JSON that is no error", [[{"id":"x","choices":[]}]], { shape = "json" } },
  { "a JSON number", "5", { shape = "json" } },
  { "a JSON list", "[]", { shape = "json" } },
  { "null as error", [[{"error":null,"choices":[]}]], { shape = "json" } },
  { "null for all", [[{"message":null,"detail":null,"title":null}]], { shape = "json" } },
  {
    "text", "\n upstream connect error \n",
    { shape = "text", message = "upstream connect error" },
  },
  { "JSON that is cut", [[{"error":{"mess]], { shape = "text", message = [[{"error":{"mess]] } },
  { "a page", "<!DOCTYPE html><html>", { shape = "html" } },
  { "a page in capitals", "  <HTML>\n<BODY>", { shape = "html" } },
  { "XML", [[<?xml version="1.0"?><Error/>]], { shape = "html" } },
  { "bytes", "\31\139\8\0\0", { shape = "binary" } },
  { "nothing", "", { shape = "empty" } },
  { "white space", " \r\n", { shape = "empty" } },
  {
    "members of the wrong kind",
    [[{"error":{"message":{"a":1},"type":[],"param":true,"code":{},"metadata":"x"}}]],
    { shape = "error" },
  },
}

describe("error_body", function()
  for _, shape in ipairs(SHAPES) do
    it("reads " .. shape[1], function()
      assert.same(shape[3], error_body.read(shape[2]))
    end)
  end

  it("reads a body that is not there as empty", function()
    assert.same({ shape = "empty" }, error_body.read(nil))
  end)
end)
