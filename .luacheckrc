std = "luajit"
max_line_length = 100
exclude_files = { "build*", "node_modules", "lua/meta" }
files["spec"] = { std = "luajit+busted" }
