std = "luajit"
max_line_length = 80
max_cyclomatic_complexity = 12
files["spec/"] = { std = "luajit+busted", max_line_length = 100 }

