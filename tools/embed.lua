--- Writes a C file with the text of Lua files: tools/embed.lua OUT.c FILE.lua…
-- See core/policy/embed.h for the table's shape.

local out_path = assert(arg[1], "usage: embed.lua OUT.c FILE.lua...")

local escapes = { ["\\"] = "\\\\", ['"'] = '\\"', ["\t"] = "\\t", ["\r"] = "\\r", ["?"] = "\\?" }

local function quote(line)
  return '"' .. line:gsub('[\\"\t\r?]', escapes):gsub("[^\32-\126]", function(byte)
    return ("\\%03o"):format(byte:byte()) -- three octal digits never swallow what follows
  end)
end

--- One C string a line of Lua, so that the file can be read.
local function literal(text)
  local lines = {}
  for line, ending in text:gmatch("([^\n]*)(\n?)") do
    if line ~= "" or ending ~= "" then
      lines[#lines + 1] = quote(line) .. (ending == "\n" and '\\n"' or '"')
    end
  end
  return #lines > 0 and table.concat(lines, "\n    ") or '""'
end

--- lua/weir/config.lua is "weir.config", lua/weir/init.lua is "weir".
local function module_name(path)
  return (path:gsub("^lua/", ""):gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."))
end

local out = assert(io.open(out_path, "w"))
out:write('/* Written by tools/embed.lua: change the Lua files instead. */\n',
  '#include "policy/embed.h"\n\n')
out:write("const struct embed_file embed_files[] = {\n")
for i = 2, #arg do
  local file = assert(io.open(arg[i], "rb"))
  local text = file:read("*a")
  file:close()
  out:write(('{"%s", "%s",\n    %s,\n    %d},\n'):format(
    module_name(arg[i]), arg[i], literal(text), #text))
end
out:write(("{0}};\n\nconst size_t embed_count = %d;\n"):format(#arg - 1))
assert(out:close())
