-- docs/openapi.yaml against the clerk: what it takes, answers and refuses, names in queries and
-- bodies among it.

local cjson = require("cjson")
local described = require("spec.support.described")
local ledger = require("spec.support.ledger")
local libc = require("spec.support.libc")
local world = require("spec.support.world")

local routes = require("weir.clerk_routes")
local paths = described.document.paths

--- A sound value for each parameter that is described.
local SOUND = { format = "csv", by = "team,model,day", since = "4w", ["until"] = "14d",
  slower = "10s", key = "alice", team = "search",
  model = "default", target = "first/m", status = "200", code = "timeout", limit = "1000",
  name = "al", state = "active", after = "a", before = "1700000000000000-req_0" }

local function operation(method, path) return paths[path][method:lower()] end

local function names(list)
  local set = {}
  for _, name in ipairs(list or {}) do set[name] = true end
  return set
end

local function body_schema(one)
  return one.requestBody and described.follow(one.requestBody.content["application/json"].schema)
end

describe("docs/openapi.yaml on the ledger", function()
  local w, first, gateway, port

  setup(function()
    w = world.new()
    first = w:upstream("first")
    gateway = w:gateway { env = { TOKEN = described.TOKEN }, more = ledger.CONFIG
      .. 'ledger = { store = { keep = "30d" } }, '
      .. 'admin = { listen = { "unix:data/admin.sock", "127.0.0.1:0" }, token = weir.env "TOKEN" },'
    }
    port = described.port(gateway)
    ledger.ask(gateway, "teams", "add", "--name", "search")
    ledger.key(gateway, "alice")
  end)
  teardown(function() w:close() end)

  --- Asks, and holds the answer to what is described of that path; body is a table or text.
  local function ask(method, path, body, route)
    if type(body) == "table" then body = next(body) and cjson.encode(body) or "{}" end
    local response = described.ask(port, method, path, {}, body)
    return described.hold(response, operation(method, route).responses, method .. " " .. path)
  end

  local function at(path)
    return (path:gsub("{name}", path:find("^/teams") and "search" or "alice"):gsub("{id}", "req_0"))
  end

  for _, route in ipairs(routes) do
    local method, path = route[1], route[2]

    it(("has the names that %s %s takes"):format(method, path), function()
      local one, queried = operation(method, path), {}
      for _, parameter in ipairs(one.parameters or {}) do
        if parameter["in"] == "query" then queried[parameter.name] = true end
      end
      local members = {}
      for name in pairs((body_schema(one) or {}).properties or {}) do members[name] = true end
      assert.same(queried, names(route.query))
      assert.same(members, names(route.members))
    end)

    it(("describes that %s %s refuses any other"):format(method, path), function()
      local response = ask(method, at(path) .. "?nonesuch=1", "", path)
      assert.equal(route.is_private and 403 or 400, response.status)
      if route.is_private then return end
      assert.matches("nonesuch: no such parameter here", response.json.error, 1, true)
      if method == "POST" then
        response = ask(method, at(path), { nonesuch = 1 }, path)
        assert.equal(400, response.status)
        assert.matches("nonesuch: no such member here", response.json.error, 1, true)
      end
    end)

    for _, name in ipairs(route.query or {}) do
      it(("describes what %s %s makes of %s"):format(method, path, name), function()
        assert.equal(200, ask(method, path .. "?" .. name .. "=" .. SOUND[name], nil, path).status)
      end)
    end

    for i, name in ipairs(route.members or {}) do
      it(("describes what %s %s makes of %s"):format(method, path, name), function()
        local body = { [name] = body_schema(operation(method, path)).properties[name].example }
        if path == "/keys" or path == "/teams" then body.name = "made-" .. i end
        assert.is_true(ask(method, at(path), body, path).status <= 201)
        body[name] = cjson.null
        assert.equal(400, ask(method, at(path), body, path).status)
      end)
    end
  end

  it("describes what is refused", function()
    ledger.key(gateway, "gone")
    ledger.ask(gateway, "keys", "revoke", "gone")
    local refused = {
      { 400, "limit: must be a whole number from 1 to 1000", "GET", "/requests", "?limit=x" },
      { 400, "limit: must be", "GET", "/requests", "?limit=0" },
      { 400, "limit: must be", "GET", "/requests", "?limit=1001" },
      { 400, "limit: comes twice", "GET", "/requests", "?limit=1&limit=2" },
      { 400, "limit: must be a whole number from 1 to 1000", "GET", "/keys", "?limit=x" },
      { 400, "state: must be active, expired or revoked", "GET", "/keys", "?state=gone" },
      { 404, "no team is called 'x'", "GET", "/keys", "?team=x" },
      { 400, "state: no such parameter here", "GET", "/teams", "?state=active" },
      { 400, "status: must be a whole number from 0 to 599", "GET", "/requests", "?status=abc" },
      { 400, "before: must be what an answer gave as next", "GET", "/requests", "?before=x" },
      { 400, "since: must be a time ago", "GET", "/requests", "?since=now" },
      { 400, "until: must be later than since", "GET", "/usage", "?since=1d&until=2d" },
      { 400, "slower: must be a time such as", "GET", "/requests", "?slower=much" },
      { 400, "format: must be csv or json", "GET", "/requests", "?format=xml" },
      { 404, "no key is called 'alcie' (did you mean 'alice'?)", "GET", "/requests", "?key=alcie" },
      { 404, "no request of that id", "GET", "/requests/{id}", "req_x" },
      { 400, "bye: no such parameter here (did you mean 'by'?)", "GET", "/usage", "?bye=key" },
      { 400, "by: nothing is summed by 'keys'", "GET", "/usage", "?by=keys" },
      { 400, "by: must name one or more", "GET", "/usage", "?by=" },
      { 400, "by: key comes twice", "GET", "/usage", "?by=key,key" },
      { 400, "name: a key needs one", "POST", "/keys", "", {} },
      { 400, "bugdet: no such member here (did you mean 'budget'?)", "POST", "/keys", "",
        { bugdet = 1 } },
      { 400, "the body must be a JSON object", "POST", "/keys", "", "[]" },
      { 400, "the body must be a JSON object", "POST", "/keys", "", '{"name":' },
      { 400, "the body is too large", "POST", "/keys", "", (" "):rep(70000) },
      { 400, "models: must be names of models", "POST", "/keys", "", { models = { {} } } },
      { 400, 'labels: must be like "env=prod"', "POST", "/keys", "", { labels = { a = {} } } },
      { 404, "no team is called 'x'", "POST", "/keys", "", { name = "x", team = "x" } },
      { 409, "a key is called 'alice' already", "POST", "/keys", "", { name = "alice" } },
      { 404, "no key is called 'x'", "GET", "/keys/{name}", "x" },
      { 404, "no key is called 'x'", "POST", "/keys/{name}", "x", {} },
      { 404, "no key is called 'x'", "POST", "/keys/{name}/rotate", "x", {} },
      { 404, "no key is called 'x'", "POST", "/keys/{name}/revoke", "x", {} },
      { 409, "'gone' is revoked", "POST", "/keys/{name}/rotate", "gone", {} },
      { 400, "grace: must be a time", "POST", "/keys/{name}/rotate", "alice", { grace = "soon" } },
    }
    for _, one in ipairs(refused) do
      local status, text, method, path, rest, body = unpack(one)
      local is_name = path:find("{", 1, true)
      local response = ask(method, is_name and path:gsub("{%w+}", rest) or path .. rest, body, path)
      assert.equal(status, response.status, response.body)
      assert.matches(text, response.json.error, 1, true)
    end
  end)

  it("describes a method and a path that are not served", function()
    local responses = described.document.components.responses
    local wrong = described.ask(port, "DELETE", "/keys/alice")
    described.hold(wrong, { ["405"] = responses.MethodNotAllowed }, "DELETE /keys/alice")
    assert.equal("GET, POST", wrong.headers.allow)
    assert.equal("GET", described.ask(port, "POST", "/usage").headers.allow)
    for _, path in ipairs { "/keys/", "/keys/alice/mend", "/teams/search/revoke", "/usage/x" } do
      described.hold(described.ask(port, "GET", path), { ["404"] = responses.NotFound }, path)
    end
  end)

  it("has no member of keys, teams, usage and requests that nobody is told", function()
    local limits = { models = "default", labels = "env=prod", rpm = 60, tpm = "100k",
      concurrent = 8, budget = "1usd/month", soft = "80%", name = "all" }
    ask("POST", "/teams", limits, "/teams")
    limits.team, limits.expires, limits.store = "all", "90d", "30d"
    local added = ask("POST", "/keys", limits, "/keys").json
    local client = gateway:request { body = ledger.request(),
      headers = { authorization = "Bearer " .. added.key } }
    local answer = cjson.decode(ledger.answer(10, 5, 2))
    answer.usage.completion_tokens_details = { reasoning_tokens = 3 }
    first:answer(200, cjson.encode(answer), { Connection = "close" })
    local id = client:read_response().headers["x-request-id"]
    ask("POST", "/keys/all/rotate", "", "/keys/{name}/rotate")
    ask("POST", "/keys/all/revoke", "", "/keys/{name}/revoke")
    ask("GET", "/teams/all", nil, "/teams/{name}")
    ask("GET", "/usage?by=key,team,model,target,day", nil, "/usage")
    ask("GET", "/requests", nil, "/requests")
    ask("GET", "/requests/" .. id, nil, "/requests/{id}")
    for _, name in ipairs { "Key", "Team", "Usage", "Request", "RequestWithTrail", "Attempt" } do
      for member, one in pairs(described.document.components.schemas[name].properties) do
        assert(described.seen[one], ("%s.%s is described, and nobody is told it"):format(name,
          member))
      end
    end
  end)

  it("describes what is answered while the ledger cannot be opened", function()
    local clerk = ledger.clerk(gateway)
    libc.C.kill(clerk, libc.SIGSTOP)
    for _, suffix in ipairs { "-wal", "-shm" } do
      os.remove(gateway.folder .. "/data/ledger.db" .. suffix)
    end
    gateway:write("data/ledger.db", ("no database "):rep(1000))
    libc.C.kill(clerk, libc.SIGKILL)
    gateway:wait_log("event=ledger_unavailable")
    for _, path in ipairs { "/keys", "/teams", "/usage", "/requests" } do
      assert.equal(503, ask("GET", path, nil, path).status)
    end
  end)
end)
