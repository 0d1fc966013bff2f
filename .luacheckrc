std = "luajit"
max_line_length = 80
max_cyclomatic_complexity = 12
self = false -- a method may ignore whose it is
files["spec/"] = { std = "luajit+busted", max_line_length = 100 }

